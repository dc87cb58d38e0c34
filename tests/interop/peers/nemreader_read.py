"""Read a NEM12 file with nemreader and print what it found, as JSON."""

import json
import sys

from nemreader import read_nem_file

found = read_nem_file(sys.argv[1])
sys.stdout.write(
    json.dumps(
        {
            "version": found.header.version_header,
            "from": found.header.from_participant,
            "readings": {
                nmi: {
                    suffix: [
                        [
                            each.t_start.isoformat(),
                            each.t_end.isoformat(),
                            each.read_value,
                            each.uom,
                            each.quality_method,
                        ]
                        for each in rows
                    ]
                    for suffix, rows in channels.items()
                }
                for nmi, channels in found.readings.items()
            },
        }
    )
)
