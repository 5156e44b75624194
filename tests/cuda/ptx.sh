#!/usr/bin/env bash
# Whether NVIDIA's compiler takes the kernels, for each generation of GPUs: PTX and machine code for sm_75, sm_80 and sm_90.
# Needs nvcc on the PATH, or fetches it (70 MB) from PyPI. Takes some minutes; not part of .ci/run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

kernels=$PWD/target/kernels
rm -rf "$kernels" && mkdir -p "$kernels"
KERNELS=$kernels tests/cuda/run.sh every_layer

if ! command -v nvcc >/dev/null; then
    toolkit=target/nvcc
    # One release of all parts: a compiler newer than the driver makes PTX that the driver refuses.
    [[ -d $toolkit ]] || python3 -m pip install --quiet --no-deps --target "$toolkit" nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 \
        nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
    PATH=$PWD/$toolkit/nvidia/cu13/bin:$PATH
fi
for arch in 75 80 90; do
    for source in "$kernels"/*.cu; do
        nvcc -arch=sm_$arch -cubin -Xptxas -v,-warn-spills -o "$source.$arch" "$source" 2>"$source.log" || {
            cat "$source.log"
            exit 1
        }
        ! grep -E "spill (stores|loads)" "$source.log" | grep -vE " 0 bytes spill stores, 0 bytes spill loads" ||
            echo "$source for sm_$arch spills registers"
    done
    echo "sm_$arch: $(find "$kernels" -name '*.cu' | wc -l) networks"
done
