#!/bin/sh
# PyCUDA without a GPU and without CUDA's toolkit: built with the headers of NVIDIA's wheels, linked to the emulated driver.
# usage: build_pycuda.sh FOLDER
#        LD_LIBRARY_PATH=FOLDER/lib64 python -m pytest tests/runtimes/test_emulated_cuda.py
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/include" "$1/lib64"
folder=$(cd "$1" && pwd)
python -m pip install --quiet --no-deps --only-binary :all: --target "$folder/wheels" \
    nvidia-cuda-runtime-cu12 nvidia-cuda-nvcc-cu12 nvidia-cuda-profiler-api-cu12 nvidia-curand-cu12
for each in "$folder"/wheels/nvidia/*/include; do cp -R "$each/." "$folder/include"; done
cc -O1 -shared -fPIC -pthread -Wl,-soname,libcuda.so.1 -o "$folder/libcuda.so" "$here/libcuda.c"
cp "$folder/wheels/nvidia/curand/lib/libcurand.so.10" "$folder/lib64"
ln -sf libcurand.so.10 "$folder/lib64/libcurand.so"
CUDA_ROOT=$folder CPATH=$folder/include LIBRARY_PATH=$folder:$folder/lib64 python -m pip install "pycuda>=2024.1"
