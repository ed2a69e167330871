#!/bin/sh
# In the place of the programs that scripts/gpu-check starts, by the name that it has: writes down how it was called, beside itself, and says
# what a machine with two graphics cards would.
folder=$(dirname "$0")
name=$(basename "$0")
echo "$name $* cache=$HEARTH_CACHE test=${HEARTH_TEST_DEVICE-}" >>"$folder/calls"
if [ -f "$folder/hangs-$name" ]; then sleep 60; fi
if [ -f "$folder/fails-$name" ]; then exit 3; fi
case $name.$1 in
hearth.--version) echo "hearth of tests" ;;
hearth.devices)
   if [ "$2" = --json ]; then
      printf '[\n {\n  "id": "vulkan:0",\n  "name": "UHD Graphics 770",\n  "default": false\n },\n'
      printf ' {\n  "id": "vulkan:1",\n  "name": "GeForce RTX 4090",\n  "default": true\n },\n {\n  "id": "cpu",\n  "name": "CPU"\n }\n]\n'
   else
      printf 'vulkan:0  UHD Graphics 770 (integrated, driver)\n          memory 23.5 GiB, 20.1 to use, shared with the host\n'
      printf 'vulkan:1  GeForce RTX 4090 (discrete, driver)\n          memory 24.0 GiB, 22.8 to use, the device'"'"'s own\n'
      printf '          memory 64.0 GiB, 60.0 to use, the host'"'"'s\ncpu       CPU, 8 threads, memory 64.0 GiB, 50.0 to use\n'
   fi ;;
hearth.bench)
   printf 'GeForce RTX 4090, 1.0 MB of weights in the file, 1.0 MB resident\n'
   printf 'pp512          1234.56 tokens/s (predicted 1.00)       1.00 GB/s of weights     %s %% of the roof (math)\n' 41.0
   printf 'tg64             99.99 tokens/s (predicted 1.00)     900.00 GB/s of weights     %s %% of the roof (read)\n' 93.4 ;;
roof.*)
   printf '{"device": "card", "read": [\n  {"memory": "device memory", "bytes_per_s": 1e12, "work": 1}\n], "math": [\n'
   printf '  {"math": "fp32", "flop_per_s": 8e13, "work": 1}\n], "matrix": [\n'
   printf '  {"shape": "a", "input": "f16", "sum": "f16", "flop_per_s": 9.5e+14, "work": 1},\n'
   printf '  {"shape": "b", "input": "f16", "sum": "f32", "flop_per_s": 4e+14, "work": 1},\n'
   printf '  {"shape": "c", "input": "f16", "sum": "f32", "flop_per_s": null, "why": "failed"},\n'
   printf '  {"shape": "d", "input": "s8", "sum": "s32", "flop_per_s": 8.00001e+14, "work": 1}\n]}\n' ;;
esac
