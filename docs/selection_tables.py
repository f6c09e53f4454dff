"""Print the tables of docs/explanation/selecting-frames.md: rules on real stacks, whole and with planted faults.

python docs/selection_tables.py DATA_FOLDER
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from parfocal.files import open_stack
from parfocal.slices.selection import Selection, StackEvidence, compose, gather_evidence, select

# The rules as they were first written down: raw Laplacian variance over its maximum, raw correlations, a fixed
# floor, both frames of a pair. One table row each: name, evidence to use, rule, parameters.
OLD = {"alpha": 0.7, "limit": "floor", "floor": 0.85, "blame": "both"}
ROWS = (
    ("peak-relative, as written", "raw", "peak_relative", {"peak": "max"}),
    ("peak-relative", "ours", "peak_relative", {}),
    ("motion, floor 0.85, both", "raw", "motion", {"limit": "floor", "blame": "both"}),
    ("motion, MAD, both", "raw", "motion", {"limit": "mad", "blame": "both", "min_drop": 0.0}),
    ("motion", "ours", "motion", {}),
    ("hybrid, as written", "raw", "hybrid", OLD),
    ("hybrid", "ours", "hybrid", {}),
    ("sharpness or residual", "ours", "sharpness_or_residual", {"model": "gaussian"}),
)


def both_kinds(frames) -> dict[str, StackEvidence]:
    """Evidence as the rules first had it, and as they have it here."""
    return {
        "raw": gather_evidence(frames, score="laplacian_variance", kind="raw", sigma_px=0, matrix=False),
        "ours": gather_evidence(frames),
    }


def apply(kinds: dict[str, StackEvidence], row) -> Selection:
    _, kind, rule, parameters = row
    return select(kinds[kind], rule, **parameters)


# -- 1: which planes ---------------------------------------------------------------------------------------


def focus_stacks(data: Path) -> Iterator[tuple[str, np.ndarray, int]]:
    """Real stacks with the plane that is in focus.

    ImageXpress: step 5, as its source states. E. coli, where nobody has said: the plane of the largest variance of
    the Laplacian of Gaussian at sigma 3 px, which averages the noise away.
    """
    wells = open_stack(data / "B_focus/imagexpress_E07").read()
    for site in range(2):
        yield f"ImageXpress E07, site {site + 1}", wells[site], 4
    for t, stack in enumerate(open_stack(data / "B_focus/ecoli_ch2_tzyx.tif").read()):
        smooth = [ndimage.gaussian_laplace(plane.astype(float), 3).var() for plane in stack]
        yield f"E. coli, frame {t}", stack, int(np.argmax(smooth))


def print_focus(data: Path) -> None:
    print("| Stack | Planes | Reference | As written: sharpest, kept | Here: sharpest, kept |")
    print("| --- | --- | --- | --- | --- |")
    for name, stack, reference in focus_stacks(data):
        kinds = both_kinds(stack)
        old, new = apply(kinds, ROWS[0]), apply(kinds, ROWS[1])
        sharpest = [int(np.argmax(kinds[kind].sharpness)) for kind in ("raw", "ours")]
        said = [f"{plane}, {one.keep.sum()}" for plane, one in zip(sharpest, (old, new))]
        print(f"| {name} | {len(stack)} | {reference} | {said[0]} | {said[1]} |")


# -- 2: bad against great ----------------------------------------------------------------------------------


SCORES = (
    ("laplacian_variance", "raw"),
    ("laplacian_variance", "debiased"),
    ("mean_abs_log", "raw"),
    ("mean_abs_log", "debiased"),
    ("vollath_f4", "debiased"),
    ("tenengrad", "raw"),
    ("tenengrad", "debiased"),
)


def print_separation(data: Path) -> None:
    """Planes about the reference against those three and more away, each over the highest of its stack."""
    stacks = list(focus_stacks(data))
    groups = {"ImageXpress": stacks[:2], "E. coli": stacks[2:]}
    print("| Score | " + " | ".join(f"{name}: AUC, 95 % interval" for name in groups) + " |")
    print("| --- |" + " --- |" * len(groups))
    for score, kind in SCORES:
        cells = []
        for group in groups.values():
            great: list[float] = []
            bad: list[float] = []
            for _, stack, reference in group:
                scores = gather_evidence(stack, score=score, kind=kind, matrix=False).sharpness
                away = np.abs(np.arange(len(stack)) - reference)
                share = scores / np.max(scores)
                great += share[away <= 1].tolist()
                bad += share[away >= 3].tolist()
            auc, low, high = auc_with_interval(np.array(great), np.array(bad))
            cells.append(f"{auc:.2f}, {low:.2f} to {high:.2f}")
        print(f"| {score}, {kind} | " + " | ".join(cells) + " |")
    for name, group in groups.items():
        great = sum(3 for _ in group)
        bad = sum(int((np.abs(np.arange(len(s)) - r) >= 3).sum()) for _, s, r in group)
        print(f"\n{name}: {great} great and {bad} bad planes of {len(group)} stacks.")
    print()
    print_across_fields(data)


def print_across_fields(data: Path) -> None:
    """Single planes of different fields: no stack to be relative to."""
    in_focus = [open_stack(p).read() for p in sorted((data / "B_focus/bbbc006/in_focus").glob("*.tif"))]
    blurred = [open_stack(p).read() for p in sorted((data / "B_focus/bbbc006/out_of_focus").glob("*.tif"))]
    great, bad = in_focus, blurred
    print("| Score, BBBC006 single planes | AUC, 95 % interval |")
    print("| --- | --- |")
    for score, kind in (*SCORES, ("laplacian_variance", "normalized"), ("tenengrad", "normalized")):
        values = [gather_evidence([f], score=score, kind=kind, matrix=False).sharpness[0] for f in (*great, *bad)]
        auc, low, high = auc_with_interval(np.array(values[: len(great)]), np.array(values[len(great) :]))
        print(f"| {score}, {kind} | {auc:.2f}, {low:.2f} to {high:.2f} |")
    print(f"\n{len(great)} great, {len(bad)} bad.")


def auc_with_interval(great: np.ndarray, bad: np.ndarray) -> tuple[float, float, float]:
    """Bootstrap percentiles; where not one pair is the wrong way round, the bootstrap knows no error: the lower
    end is then the exact one-sided bound of so many right answers as the smaller class has members; 0 likewise.
    """

    def auc(g, b):
        return float(np.mean((g[:, None] > b) + 0.5 * (g[:, None] == b)))

    rng = np.random.default_rng(0)
    drawn = [auc(rng.choice(great, great.size), rng.choice(bad, bad.size)) for _ in range(2000)]
    value, (low, high) = auc(great, bad), np.percentile(drawn, (2.5, 97.5))
    bound = 0.025 ** (1 / min(great.size, bad.size))
    return value, bound if value == 1 else float(low), 1 - bound if value == 0 else float(high)


# -- 3: planted faults -------------------------------------------------------------------------------------


def good_stacks(data: Path) -> dict[str, np.ndarray]:
    """Real stacks without a known fault."""
    return {
        "embryo nuclei": open_stack(data / "C_nuclei/bbbc050/Emb1_t501_raw.tif").read()[8:40],
        "another embryo": open_stack(data / "C_nuclei/bbbc050/Emb2_t501_raw.tif").read()[8:40],
        "EM sections": open_stack(data / "F_slices/celegans_em_sections.tif", axes="ZYX").read(),
        "beads": open_stack(data / "A_beads/astig_beads_field.tif").read()[10:60:2],
        "two-photon sections": open_stack(data / "F_slices/serial2p_sections_zyx.tif", axes="ZYX").read(),
    }


def plant(stack: np.ndarray, fault: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the stack with faults, and which frames have one."""
    n = len(stack)
    frames = stack.astype(np.float32)
    wrong = np.zeros(n, bool)
    wrong[rng.choice(n, max(1, n // 10), replace=False)] = True
    for i in np.flatnonzero(wrong):
        if fault == "motion":
            frames[i] = ndimage.shift(frames[i], rng.choice([-5, 5], 2), order=1, mode="reflect")
        else:
            frames[i] = ndimage.gaussian_filter(frames[i], 2.5) + _noise_of(stack[i], rng)
    return frames, wrong


def _noise_of(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As much white noise as the blur has taken away."""
    pixels = frame.astype(float)
    second = pixels[:, :-2] - 2 * pixels[:, 1:-1] + pixels[:, 2:]
    both = second[:-2] - 2 * second[1:-1] + second[2:]
    return rng.normal(0, np.sqrt(np.pi / 2) / 6 * np.abs(both).mean(), frame.shape).astype(np.float32)


def planted_scores(
    stacks: dict[str, np.ndarray], fault: str, rows, trials: int, seed: int = 0
) -> list[list[float]]:
    """Return, for each row, the share kept of clean stacks, and recall, precision and loss of planted faults.

    Only frames that the rule keeps of the clean stack are looked at: what it leaves out there, it leaves out for
    another reason.
    """
    rng = np.random.default_rng(seed)
    counts = np.zeros((len(rows), 5))
    for stack in stacks.values():
        clean_kinds = both_kinds(stack)
        clean = [apply(clean_kinds, row).keep for row in rows]
        for _ in range(trials):
            frames, wrong = plant(stack, fault, rng)
            kinds = both_kinds(frames)
            for r, (row, before) in enumerate(zip(rows, clean)):
                out = ~apply(kinds, row).keep
                counts[r] += (
                    before.mean(),
                    (out & wrong & before).sum(),
                    (wrong & before).sum(),
                    (out & ~wrong & before).sum(),
                    (~wrong & before).sum(),
                )
    n = len(stacks) * trials
    return [
        [k / n, hit / max(1, of), hit / max(1, hit + lost), lost / max(1, good)]
        for k, hit, of, lost, good in counts
    ]


def print_planted(data: Path, trials: int = 10) -> None:
    stacks = good_stacks(data)
    for fault in ("motion", "blur"):
        print(f"\n{fault.capitalize()}:\n")
        print("| Rule | Kept of clean stacks | Faults found | Of those left out, faulty | Good frames lost |")
        print("| --- | --- | --- | --- | --- |")
        for row, values in zip(ROWS, planted_scores(stacks, fault, ROWS, trials)):
            print(f"| {row[0]} | " + " | ".join(f"{100 * v:.0f} %" for v in values) + " |")


# -- 4: drift ----------------------------------------------------------------------------------------------

DRIFT_ROWS = (
    ("hybrid, as written", "raw", "hybrid", OLD),
    ("hybrid", "ours", "hybrid", {}),
    ("anchor", "ours", "anchor", {}),
    ("centre of mass anchor", "ours", "centre_of_mass_anchor", {}),
    ("chained anchor", "ours", "chained_anchor", {}),
    ("largest clique", "ours", "clique", {}),
    ("largest block", "ours", "block", {}),
    ("DBSCAN", "ours", "dbscan", {}),
    ("k-means", "ours", "kmeans", {}),
)


def displaced(stack: np.ndarray, drift: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the stack as its sample jumps once, or creeps on all the time, and how far each frame is moved."""
    n = len(stack)
    if drift == "jump":
        moved_px = np.where(np.arange(n) >= rng.integers(n // 3, 2 * n // 3), 6.0, 0.0)
    else:
        moved_px = 0.5 * np.arange(n)
    way = rng.uniform(0, 2 * np.pi)
    step = np.array([np.cos(way), np.sin(way)])
    frames = [
        ndimage.shift(frame.astype(np.float32), by * step, order=1, mode="reflect")
        for frame, by in zip(stack, moved_px)
    ]
    return np.array(frames), moved_px


def print_drift(data: Path, trials: int = 5) -> None:
    """How far apart the frames of one selection lie: what the image made of them is blurred by."""
    rng = np.random.default_rng(0)
    found = {drift: np.zeros((len(DRIFT_ROWS), 2)) for drift in ("jump", "creep")}
    stacks = good_stacks(data)
    for drift, sums in found.items():
        for stack in stacks.values():
            for _ in range(trials):
                frames, moved_px = displaced(stack, drift, rng)
                kinds = both_kinds(frames)
                for r, row in enumerate(DRIFT_ROWS):
                    keep = apply(kinds, row).keep
                    sums[r] += (np.ptp(moved_px[keep]) if keep.any() else 0.0, keep.sum())
    n = len(stacks) * trials
    print("| Rule | Jump of 6 px: spread, frames kept | Creep of 0.5 px a frame: spread, frames kept |")
    print("| --- | --- | --- |")
    for r, row in enumerate(DRIFT_ROWS):
        cells = [f"{sums[r, 0] / n:.1f} px, {sums[r, 1] / n:.1f}" for sums in found.values()]
        print(f"| {row[0]} | " + " | ".join(cells) + " |")


# -- 5: one image ------------------------------------------------------------------------------------------


def print_composed(seed: int = 0) -> None:
    """A known tilted scene, simulated: what each way of composing it is off by."""
    truth, stack = tilted_scene(seed)
    print("| Composed by | Root mean square error | of the plain frame in the middle |")
    print("| --- | --- | --- |")
    middle = np.sqrt(np.mean((stack[len(stack) // 2] - truth) ** 2))
    from parfocal.slices.selection import compose_morphseq

    made = {
        "argmax of LoG, pixel by pixel": compose_morphseq(stack, rescale=False)[0],
        "index map": compose(stack, method="index").image,
        "softmax": compose(stack).image,
    }
    for name, image in made.items():
        error = np.sqrt(np.mean((image - truth) ** 2))
        print(f"| {name} | {error:.1f} | {error / middle:.2f} |")


def tilted_scene(seed: int = 0, n: int = 9, side: int = 192) -> tuple[np.ndarray, np.ndarray]:
    """Return a sharp scene, and a stack of it whose focus runs from left, the first frame, to right."""
    rng = np.random.default_rng(seed)
    scene = ndimage.gaussian_filter((rng.random((side, side)) < 0.01) * 8000.0, 1.2)
    scene[side // 3 : side // 2] = 0  # nothing to see there
    scene += 100
    focus = np.linspace(0, n - 1, side)
    stack = np.empty((n, side, side), np.float32)
    blurs = np.linspace(0, n, 4 * n + 1)
    levels = np.stack([ndimage.gaussian_filter(scene, 0.6 * b) if b else scene for b in blurs])
    for z in range(n):
        which = np.clip(np.round(4 * np.abs(focus - z)).astype(int), 0, 4 * n)
        stack[z] = levels[which, :, np.arange(side)].T
    return scene, (rng.poisson(stack) + rng.normal(0, 3, stack.shape)).astype(np.float32)


def main(data: Path) -> None:
    print("### In-focus planes\n")
    print_focus(data)
    print("\n### Bad against great\n")
    print_separation(data)
    print("\n### Planted faults")
    print_planted(data)
    print("\n### Drift\n")
    print_drift(data)
    print("\n### Composed images (simulated)\n")
    print_composed()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
