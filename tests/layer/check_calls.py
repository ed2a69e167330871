"""The layer's lists beside the registry of Vulkan and beside what src/vk calls.

check_calls.py SOURCES INCLUDE: every function of src/vk that returns a VkResult is in tests/layer/calls.h, and its results
there are those that vk.xml lists. Without vk.xml (it comes with the Vulkan headers of most systems) skips, with 77.
"""
import glob
import os
import re
import sys
from xml.etree import ElementTree

# The loader's own, without an instance: no layer sees them; tests/unit/test_vk_faults.c fails them.
GLOBAL = {"vkEnumerateInstanceExtensionProperties", "vkEnumerateInstanceLayerProperties"}
SHORT = {"HOST": "VK_ERROR_OUT_OF_HOST_MEMORY", "DEVICE": "VK_ERROR_OUT_OF_DEVICE_MEMORY", "LOST": "VK_ERROR_DEVICE_LOST"}


def registry(include):
    """{function: results but VK_SUCCESS} of vk.xml, under the names that results have now; None without one."""
    include = os.path.realpath(os.path.join(include, "vulkan"))
    places = [os.path.join(include, up, "share/vulkan/registry/vk.xml") for up in ("..", "../..")]
    path = next((p for p in places if os.path.exists(p)), None)
    if path is None:
        return None
    root = ElementTree.parse(path).getroot()
    alias = {e.get("name"): e.get("alias") for e in root.iter("enum") if e.get("alias")}
    found = {}
    for command in root.find("commands"):
        prototype = command.find("proto")
        if prototype is None or prototype.find("type").text != "VkResult" or command.get("api") == "vulkansc":
            continue
        results = f'{command.get("successcodes")},{command.get("errorcodes")}'.split(",")
        found[prototype.find("name").text] = [alias.get(r, r) for r in results if r != "VK_SUCCESS"]
    return found


def table(text):
    """{function: results} of calls.h."""
    found = {}
    for entry in re.split(r"\bX\((?=vk[A-Z])", re.sub(r"\\\n", "\n", text))[1:]:
        name = re.match(r"\w+", entry).group(0)
        entry = entry.split("#define")[0]
        results = re.findall(r"\b(?:HOST|DEVICE|LOST|VK_(?:ERROR|INCOMPLETE|TIMEOUT|NOT_READY|PIPELINE_COMPILE)\w*)\b",
                             entry[entry.rfind("), ") if "), " in entry else entry.rfind("),\n"):])
        found[name] = [SHORT.get(r, r) for r in results]
    return {n: r for n, r in found.items() if not re.match(r"vk(Destroy|Free)", n)}


def main(source, include):
    known = registry(include)
    if known is None:
        print(f"skipped: no vk.xml beside {include}")
        return 77
    with open(os.path.join(source, "tests/layer/calls.h"), encoding="utf-8") as file:
        have = table(file.read())
    wrong = []
    for name, results in have.items():
        if results != known.get(name):
            wrong.append(f"{name}: calls.h lists {results}, vk.xml {known.get(name)}")
    for path in glob.glob(os.path.join(source, "src/vk/*.c")):
        with open(path, encoding="utf-8") as file:
            used = set(re.findall(r"\bvk[A-Z]\w+(?=\s*\()", file.read()))
        wrong += [f"{path}: {name} is not in calls.h" for name in sorted(used & set(known) - set(have) - GLOBAL)]
    print("\n".join(wrong) or f"{len(have)} functions are as in vk.xml")
    return 1 if wrong or len(have) < 20 else 0


sys.exit(main(*sys.argv[1:]))
