"""Prints the XML of Gurux's translator for each APDU on standard input: one in hexadecimal a line, one answer in JSON a line."""

import json
import sys

from gurux_dlms import GXDLMSTranslator
from gurux_dlms.enums import TranslatorOutputType

translator = GXDLMSTranslator(TranslatorOutputType.SIMPLE_XML)
for line in sys.stdin:
    try:
        answer = {"xml": translator.pduToXml(bytearray.fromhex(line))}
    except Exception as error:  # noqa: BLE001 - whatever the peer fails with is told
        answer = {"error": repr(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
