#!/usr/bin/env bash
# Builds mnist-lab with CUDA on an x86-64 machine that has neither a GPU nor NVIDIA's toolkit, for one that has a GPU, its driver and
# the CUDA 13 libraries (libcublas, libnvrtc): target/cuda/release/mnist-lab, to be copied there.
#
#   tests/cuda/build.sh [COMPUTE_CAPABILITY]      9.0 (H100) if not given; of the oldest GPU that it shall run on
#
# Needs Rust, a C compiler, and Python with pip. What it stands in for:
# - nvcc and its headers come from PyPI. All parts are of one release, because a driver refuses the PTX of a newer compiler.
# - dfdx asks nvidia-smi for the compute capability: a script answers.
# - The linker wants NVIDIA's libraries: empty ones with the same functions and names satisfy it. The real ones are found where the
#   toolkit has them, or by LD_LIBRARY_PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

capability=${1:-9.0}
work=$PWD/target/cuda
toolkit=$PWD/target/nvcc
[[ -d $toolkit ]] || python3 -m pip install --quiet --no-deps --target "$toolkit" nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 \
    nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
nvidia=$toolkit/nvidia/cu13
mkdir -p "$work/bin" "$work/root/include" "$work/root/lib"
chmod -R u+x "$nvidia/bin" "$nvidia/nvvm/bin"
printf '#!/bin/sh\nprintf "compute_cap\\n%s\\n"\n' "$capability" >"$work/bin/nvidia-smi"
chmod +x "$work/bin/nvidia-smi"
cp "$nvidia"/include/cuda.h "$nvidia"/include/cuda_fp16.h* "$work/root/include/"

bindings=$(cargo metadata --locked --format-version 1 --features cuda | python3 -c '
import json, os, sys
package = next(p for p in json.load(sys.stdin)["packages"] if p["name"] == "cudarc")
print(os.path.dirname(package["manifest_path"]))')
stand_in() { # library, its name for the loader, the bindings to it
    grep -oE 'pub fn [A-Za-z0-9_]+' "$bindings/src/$3/sys.rs" | awk '{print "int " $3 "(void) { return 999; }"}' | sort -u |
        ${CC:-cc} -shared -fPIC -w -Wl,-soname,"$2" -o "$work/root/lib/lib$1.so" -x c -
}
stand_in cuda libcuda.so.1 driver
stand_in nvrtc libnvrtc.so.13 nvrtc
stand_in cublas libcublas.so.13 cublas
stand_in cublasLt libcublasLt.so.13 cublaslt

# The old kind of search path counts for the libraries of libraries too.
path='$ORIGIN:/usr/local/cuda/lib64:/usr/local/cuda-13.0/lib64'
PATH=$work/bin:$nvidia/bin:$PATH CUDA_PATH=$work/root CARGO_TARGET_DIR=$work \
    RUSTFLAGS="-C link-arg=-Wl,--disable-new-dtags -C link-arg=-Wl,-rpath,$path" \
    cargo build --locked --release --features cuda
ls -l "$work/release/mnist-lab"
