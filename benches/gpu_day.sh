#!/usr/bin/env bash
# The day there is a GPU: generates towers, checks that the GPU counts what the CPU counts, and measures both.
#
#   benches/gpu_day.sh                            1 and 10 million points
#   benches/gpu_day.sh 1e6 1e8 1e9                other sizes
#   OUT=/mnt/fast benches/gpu_day.sh 1e9          datasets and results elsewhere than target/gpu_day
#
# Leaves, for every size, OUT/N.json (all figures) and OUT/N.txt (the table), OUT/machine.txt (what they were measured on) and
# OUT/summary.txt: the rows that docs/benchmarks.md has open. Fails where a kernel is wrong, or where the two engines' answers
# on a dataset differ. Without a GPU it runs on software Vulkan, to see that it works, and says that the figures mean nothing.
# Needs cargo, the GPU's driver and the Vulkan loader (libvulkan1). A dataset of 1e9 points takes some 30 GB of disk and its
# ingest some minutes; those that are there already are used again.
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

# Every kernel against brute force and against the CPU, on this machine's GPU. CHECK=no leaves it out, where it was done.
[ "${CHECK:-yes}" = no ] || cargo test --release --lib engine::gpu

: > "$out/summary.txt"
for size in "${sizes[@]}"; do
    rows=$(printf '%.0f' "$size")
    dataset=$out/towers-$rows
    if [ ! -e "$dataset/dataset.json" ]; then
        "$pointillist" generate towers --rows "$rows" -o "$out/towers-$rows.parquet"
        "$pointillist" ingest "$out/towers-$rows.parquet" --preset opencellid -o "$dataset"
        rm -f "$out/towers-$rows.parquet"
    fi
    # Compares the backends' answers too, and fails where they differ.
    "$pointillist" bench "$dataset" --backend cpu,gpu --json "$out/$rows.json" | tee "$out/$rows.txt"
    {
        echo "== $rows points"
        # The copy bandwidth and the adapter; select and its share of that bandwidth, which is also a new filter with all zooms
        # ready; batches of 64 tiles.
        grep -E '^(cpu|gpu): |copy bandwidth|^select |^count batch +64 |are equal' "$out/$rows.txt"
    } >> "$out/summary.txt"
done
cat "$out/summary.txt"
if grep -q SOFTWARE "$out/summary.txt"; then
    echo "gpu_day: no GPU here: measured on a software adapter, so nothing of this belongs into docs/benchmarks.md"
fi
echo "gpu_day: figures are in $out"
