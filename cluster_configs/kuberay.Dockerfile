# The image of kuberay_cluster.yaml and kuberay_job.yaml: Ray, this checkout and what it imports.
# Built at the root of the checkout: docker build -f cluster_configs/kuberay.Dockerfile .
FROM rayproject/ray:2.60.0-py311-gpu
# What Triton compiles its kernels with; the image's own Python has its headers.
RUN sudo apt-get update && sudo apt-get install -y --no-install-recommends gcc libc6-dev \
    && sudo rm -rf /var/lib/apt/lists/*
COPY --chown=ray . /home/ray/strictune
WORKDIR /home/ray/strictune
RUN pip install --no-cache-dir --constraint constraints.txt --editable .
