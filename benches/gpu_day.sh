#!/usr/bin/env bash
# The day there is a GPU: generates towers, checks that the GPU counts what the CPU counts, and measures both.
#
#   benches/gpu_day.sh                            1 and 10 million points
#   benches/gpu_day.sh 1e6 1e8 1e9                other sizes
#   OUT=/mnt/fast benches/gpu_day.sh 1e9          datasets and results elsewhere than target/gpu_day
#
# Leaves, for every size, OUT/N.json (all figures) and OUT/N.txt (the table), and OUT/machine.txt (what they were measured
# on): what docs/benchmarks.md wants. Needs cargo, the GPU's driver and the Vulkan loader (libvulkan1). A dataset of 1e9
# points takes some 30 GB of disk and its ingest some minutes; those that are there already are used again.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${OUT:-target/gpu_day}
sizes=("$@")
[ ${#sizes[@]} -gt 0 ] || sizes=(1e6 1e7)
mkdir -p "$out"

command -v cargo >/dev/null || { echo "gpu_day: cargo is missing: install Rust from https://rustup.rs" >&2; exit 1; }
cargo build --release --quiet
pointillist=${CARGO_TARGET_DIR:-target}/release/pointillist

{
    date -u +%Y-%m-%dT%H:%MZ
    git rev-parse HEAD
    uname -srm
    lscpu | grep -E 'Model name|^CPU\(s\)' || true
    nvidia-smi --query-gpu=name,driver_version,memory.total,pcie.link.gen.max,pcie.link.width.max --format=csv 2>/dev/null \
        || echo "no nvidia-smi"
} > "$out/machine.txt"
cat "$out/machine.txt"

# Every kernel against brute force and against the CPU, on this machine's GPU. Skips are shown.
cargo test --release --lib engine::gpu -- --nocapture

for size in "${sizes[@]}"; do
    rows=$(printf '%.0f' "$size")
    dataset=$out/towers-$rows
    if [ ! -e "$dataset/dataset.json" ]; then
        "$pointillist" generate towers --rows "$rows" -o "$out/towers-$rows.parquet"
        "$pointillist" ingest "$out/towers-$rows.parquet" --preset opencellid -o "$dataset"
        rm -f "$out/towers-$rows.parquet"
    fi
    "$pointillist" bench "$dataset" --backend cpu,gpu --json "$out/$rows.json" | tee "$out/$rows.txt"
done
echo "gpu_day: figures are in $out"
