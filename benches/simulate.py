#!/usr/bin/env python3
"""A map over an object store, simulated: hit rates, times and what limits, for a trace of people who look at it.

    benches/simulate.py                                          10^9 points, three replicas, a store that answers in 20 ms
    benches/simulate.py --points 1e11 --sessions-per-second 2    more of each
    benches/simulate.py --calibrate measurements.json            as benches/peers/cold_store.py has measured it; predicted beside measured
    benches/simulate.py --sample measurements.json.npy           the places of a real dataset instead of made ones
    benches/simulate.py --paper measurements.json                bytes, memory and cost at 10^9, 10^11 and 10^12 points, as docs/scale.md has them

The same seed gives the same answer. What is modelled, and how: benches/simulation. numpy is installed
into a virtual environment under the user's cache folder where it is not there.
"""

import argparse
import dataclasses
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]
from packages import run_with, skip  # noqa: E402

try:
    import numpy
except ImportError:
    run_with("numpy", ["numpy==2.4.6"], skip)
    raise  # it is there now, or nothing runs
from simulation import layout, paper, replay, trace  # noqa: E402

# As fitted to 40 million generated towers (docs/scale.md).
CLUMPING = {8: 0.01, 16: 0.06}


def with_options(parser, defaults, group):
    options = parser.add_argument_group(group)
    for field in dataclasses.fields(defaults):
        value = getattr(defaults, field.name)
        if not isinstance(value, tuple):
            options.add_argument(f"--{field.name.replace('_', '-')}", type=type(value), default=None, help=f"default {value}")


def from_options(args, defaults):
    given = {field.name: getattr(args, field.name, None) for field in dataclasses.fields(defaults)}
    return dataclasses.replace(defaults, **{name: value for name, value in given.items() if value is not None})


def calibrated(measured, machine, store):
    """The model's numbers as they were measured."""
    model = measured["model"]
    machine = dataclasses.replace(machine, **{name: model[name] for name in ("memory_ms", "compute_ms", "compute_p99_ms", "tile_bytes") if name in model})
    store = dataclasses.replace(store, **{name: model[name] for name in ("median_ms", "p99_ms", "rounds", "request_ms") if name in model})
    return machine, store


def predicted(measured, sample, seed):
    """What the model says of the very tiles that were measured, one after the other on one replica with an empty disk."""
    machine, store = calibrated(measured, replay.Machine(replicas=1), replay.Store())
    # So far apart that none waits for another, and a user each.
    asked = [(10.0 * i, i, tuple(entry["tile"])) for i, entry in enumerate(measured["tiles"])]
    where = layout.Layout(sample, measured["points"], layout.of_json(measured["clumping"]), measured["groups"], measured["ranked_levels"])
    return replay.replay(asked, where.blocks, dataclasses.replace(machine, memory_bytes=0, shared_bytes=0), store, seed)


def compare(measured, said):
    rows = [("p50, ms", measured["ms"]["p50"], said["ms"]["made"]["p50"]), ("p95, ms", measured["ms"]["p95"], said["ms"]["made"]["p95"]),
            ("p99, ms", measured["ms"]["p99"], said["ms"]["made"]["p99"]),
            ("requests a tile", measured["requests_a_tile"], said["store"]["requests_a_made_tile"]),
            ("bytes a tile", measured["bytes_a_tile"], said["store"]["bytes_a_made_tile"])]
    print(f"{measured['dataset']}: {measured['points']:,} points, {len(measured['tiles'])} cold tiles")
    print(f"{'':<18} {'measured':>12} {'predicted':>12} {'ratio':>7}")
    for name, real, model in rows:
        print(f"{name:<18} {real:>12,.1f} {model:>12,.1f} {model / real if real else float('nan'):>7.2f}")


def tell(said):
    ms, rate = said["ms"], said["hit_rate"]
    print(f"{said['requests']:,} tiles in {said['seconds']:,.0f} s: browser {said['browser']:,}, memory {said['memory']:,}, joined {said['joined']:,}, "
          f"shared {said['shared']:,}, empty {said['empty']:,}, made {said['made']:,}")
    print("hit rates: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in rate.items()))
    for name, values in ms.items():
        if values:
            print(f"{name:<16} p50 {values['p50']:>9.1f} ms  p95 {values['p95']:>9.1f} ms  p99 {values['p99']:>9.1f} ms")
    print(f"store: {said['store']['requests']:,} requests, {said['store']['bytes'] / 1e6:,.0f} MB; a tile that is made takes "
          f"{said['store']['requests_a_made_tile']:.1f} requests and {said['store']['bytes_a_made_tile'] / 1e3:,.0f} kB")
    print("in use: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in said["used"].items()))
    print("the slowest twentieth spends " + ", ".join(f"{value:.1f} ms on {name}" for name, value in said["slowest_made_ms"].items()) + f": {said['limit']} limits")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--points", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calibrate", type=pathlib.Path, metavar="MEASUREMENTS")
    parser.add_argument("--sample", type=pathlib.Path, help="sorted keys of a dataset, .npy, as cold_store.py writes them")
    parser.add_argument("--paper", type=pathlib.Path, metavar="MEASUREMENTS")
    parser.add_argument("--json", action="store_true")
    with_options(parser, trace.Habits(), "people")
    with_options(parser, replay.Machine(), "machines")
    with_options(parser, replay.Store(), "store")
    args = parser.parse_args()
    if args.paper:
        measurements = json.loads(args.paper.read_text())
        paper.tell(measurements, {m["sample"]: numpy.load(args.paper.parent / m["sample"]) for m in measurements["datasets"]})
        return
    machine, store, clumping = replay.Machine(), replay.Store(), CLUMPING
    sample = numpy.load(args.sample) if args.sample else trace.sample_of_towns(200_000, 7)
    if args.calibrate:
        measurements = json.loads(args.calibrate.read_text())
        for measured in measurements["datasets"]:
            own = numpy.load(args.calibrate.parent / measured["sample"])
            compare(measured, predicted(measured, own, args.seed))
            print()
        machine, store = calibrated(measurements["datasets"][0], machine, store)
        clumping = layout.of_json(measurements["datasets"][0]["clumping"])
    habits, machine, store = (from_options(args, defaults) for defaults in (trace.Habits(), machine, store))
    where = layout.Layout(sample, args.points, clumping)
    said = replay.replay(trace.trace(sample, habits, args.seed), where.blocks, machine, store, args.seed)
    if args.json:
        print(json.dumps(said, indent=1))
    else:
        tell(said)


if __name__ == "__main__":
    main()
