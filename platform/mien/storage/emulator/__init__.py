"""Cloud Storage on this machine: generations, preconditions, ranges, resumable uploads, and faults on demand.

For tests and for `gs://` on a laptop; it is no place to keep data in.

    objects      buckets and objects behind one lock      disk       the same in a folder
    blob         one generation of an object              listing    pages of names
    calls        the JSON API                             uploads    media, multipart, resumable
    xml_api      reads and uploads of the XML API         batch      many calls in one request
    routes       which call a request is                  faults     failures by rule
    server       HTTP on loopback                         process    the server as a child process
"""

from mien.storage.emulator.process import Emulator
from mien.storage.emulator.traffic import Traffic

__all__ = ["Emulator", "Traffic"]
