"""`cnnlab compare`: two finished runs by their answers to the same test images, paired image by image."""

from __future__ import annotations

from collections.abc import Sequence

from cnnlab.commands import parser

EXAMPLES = """\
  cnnlab compare 3f9c 81ab    the runs whose ids begin so

Of one seed each: the interval is for new images, and says nothing of new seeds.
"""


def main(words: Sequence[str]) -> None:
    """Say on how many images two runs differ and how sure the difference is, and draw those images."""
    parse = parser("compare", EXAMPLES)
    for name in ("a", "b"):
        parse.add_argument(name, metavar=name.upper(), help="the name of a run, or the beginning of its id")
    said = parse.parse_args(words)
    from cnnlab.paths import UI, root
    from cnnlab.plots import differing, png
    from cnnlab.robustness import data_of
    from cnnlab.statistics import compare
    from cnnlab.tracking.access import store_errors
    from cnnlab.tracking.records import answers, config, one
    from cnnlab.tracking.store import run_link

    with store_errors():
        found = [one(word) for word in (said.a, said.b)]
        (a, labels), (b, others) = (answers(*each) for each in found)
    if a.shape != b.shape or (labels != others).any():
        raise ValueError(f"{said.a} and {said.b}: choose two runs that answered the same test images")
    names = [f"{study.name}: {run.info.run_name}" for study, run in found]
    wrong = a != labels, b != labels
    result = compare(*wrong)
    for letter, name, errors in zip("AB", names, wrong, strict=True):
        print(f"{letter}  {name}  test error {100 * errors.mean():.2f}%")
    both = int((wrong[0] & wrong[1]).sum())
    print(f"both right {len(labels) - both - result.worse - result.better}, only A right {result.worse}, ", end="")
    print(f"only B right {result.better}, both wrong {both}")
    bounds = f"{100 * result.low:+.2f} to {100 * result.high:+.2f}"
    print(f"B - A: {100 * result.mean:+.2f} points (95% for new images: {bounds}; McNemar's exact p = {result.p:.3g})")
    differ = wrong[0] != wrong[1]
    try:
        data = data_of(found[0][1], config(*found[0])) if differ.any() else None
    except (ValueError, OSError) as error:
        print(f"no picture: {error}")
        data = None
    if data:
        file = root() / "reports" / "compare" / f"{found[0][1].info.run_id[:8]}-{found[1][1].info.run_id[:8]}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        shown = (data.test.pixels[differ], labels[differ], a[differ], b[differ], data.classes)
        file.write_bytes(png(differing(*shown, f"A {names[0]}\nB {names[1]}")))
        print("images on which one of them is wrong:", file)
    for letter, (study, run) in zip("AB", found, strict=True):
        print(f"{letter}, after {UI}:", run_link(study, run.info.run_id))
