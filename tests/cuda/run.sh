#!/usr/bin/env bash
# Runs the tests of src/nn/cuda on a machine without a GPU: links it with an emulator of the CUDA driver, which compiles the kernels for the
# CPU. Needs a C++ compiler (CXX) on an x86-64 machine. Arguments name the tests, all of them if there are none.
#
# With KERNELS=DIR, the sources of all kernels that ran are left there, for ptx.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

built=$PWD/target/emulator
mkdir -p "$built"
# All functions that cudarc names, those of the emulator aside: whoever calls one gets an error.
cargo metadata --locked --format-version 1 --features cuda-ci | python3 -c '
import json, os, re, sys
package = next(p for p in json.load(sys.stdin)["packages"] if p["name"] == "cudarc")
source = os.path.join(os.path.dirname(package["manifest_path"]), "src")
names = set()
for part in ("driver", "nvrtc", "cublas", "cublaslt"):
    names |= set(re.findall(r"pub fn (\w+)\(", open(os.path.join(source, part, "sys.rs")).read()))
for name in sorted(names):
    print(f"__attribute__((weak)) int {name}(void) {{ return 801; }}")' >"$built/absent.c"
${CC:-cc} -c -fPIC -w -o "$built/absent.o" "$built/absent.c"
${CXX:-c++} -std=c++17 -O1 -shared -fPIC -w -o "$built/libemulator.so" tests/cuda/emulator.cpp "$built/absent.o" -ldl

test=$(cargo rustc --locked --features cuda-ci --lib --profile test --message-format=json-render-diagnostics -- \
    -C link-arg=-Wl,--no-as-needed -C link-arg="$built/libemulator.so" -C link-arg=-Wl,-rpath,"$built" |
    python3 -c '
import json, sys
made = [json.loads(line) for line in sys.stdin]
print(next(m["executable"] for m in made if m.get("executable") and m["target"]["kind"] == ["lib"]))')
EMULATOR_KEEP=${KERNELS:-} "$test" "${@:-cuda::}"
