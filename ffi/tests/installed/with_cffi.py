"""The installed header and shared library through cffi: with_cffi.py INCLUDEDIR LIBRARY"""

import os
import subprocess
import sys
import tempfile

from cffi import FFI

includedir, library = sys.argv[1:]

# cffi knows the types of stdint.h and no preprocessor.
with tempfile.TemporaryDirectory() as empty:
    for name in ("stddef.h", "stdint.h"):
        open(os.path.join(empty, name), "w").close()
    header = os.path.join(includedir, "rtmv2.h")
    text = subprocess.run(
        ["cc", "-E", "-P", "-nostdinc", "-I", empty, "-D__extension__=", header],
        check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
text = "\n".join(line for line in text.splitlines() if "RTM_CHECK_" not in line)

ffi = FFI()
ffi.cdef(text)
rtm = ffi.dlopen(library)

cleaned = []


@ffi.callback("void(void *)")
def cleanup(context):
    cleaned.append(ffi.from_handle(context))


state = {"neighbours": 3}
context = ffi.new_handle(state)
info = ffi.new("RTM_ENTITY_INFO *", {"AddressFamily": 2})
info.EntityId.EntityProtocolId = 14
profile = ffi.new("RTM_REGN_PROFILE *")
handle = ffi.new("RTM_ENTITY_HANDLE *")
assert rtm.RtmxRegisterEntity(
    info, ffi.NULL, ffi.NULL, 0, context, cleanup, ffi.NULL, profile, handle) == 0
assert profile.NumberOfViews == bin(profile.ViewsSupported).count("1") > 0

count = ffi.new("UINT *", 4)
handles = ffi.new("RTM_ENTITY_HANDLE[4]")
infos = ffi.new("RTM_ENTITY_INFO[4]")
assert rtm.RtmGetRegisteredEntities(handle[0], count, handles, infos) == 0
assert (count[0], handles[0]) == (1, handle[0])
assert infos[0].EntityId.EntityProtocolId == 14
assert rtm.RtmReleaseEntities(handle[0], count[0], handles) == 0

found = ffi.new("PVOID *")
assert rtm.RtmxEnter() == 0
assert rtm.RtmxGetContext(handle[0], found) == 0
assert ffi.from_handle(found[0]) is state
assert rtm.RtmxLeave() == 0

assert rtm.RtmDeregisterEntity(handle[0]) == 0
assert rtm.RtmDeregisterEntity(handle[0]) == 6
assert b"handle" in ffi.string(rtm.RtmxErrorText(6)).lower()
assert cleaned == []  or cleaned == [state]
assert rtm.RtmxFlush() == 0
assert cleaned == [state]
print("with_cffi: done")
