"""Virtual meters of meter files, found and examined from nothing but their octets, are told to be of these files."""

import pytest

from headend.services.discovery.classification.model_file import shipped
from headend.services.discovery.classify import Classifier
from tests.drivers.probing.support import LIBRARY
from tests.services.support import virtual
from tests.services.test_fingerprints_on_the_wire import print_of


@pytest.mark.parametrize(
    ("profile_id", "framing", "vendor"),
    [
        ("schneider-iem3000", "tcp", "Schneider Electric"),
        ("eastron-sdm120", "rtu", "Eastron"),
        ("finder-7m24", "tcp", "Finder"),
        ("generic-dlms-1p", "wrapper", "Generic"),
        ("generic-dlms-3p", "hdlc", "Generic"),
        ("generic-dlt645-3p", "", ""),
        ("generic-dlt645-1997", "", ""),
    ],
)
@virtual
async def test_a_meter_that_was_examined_is_told_by_its_file(profile_id: str, framing: str, vendor: str) -> None:
    found = Classifier(LIBRARY, shipped()).classify(await print_of(profile_id, 1, framing))
    assert (found.vendor, found.profile_id) == (vendor, profile_id)
    assert found.confidence > 0.5
