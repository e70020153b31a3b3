import sys
from pathlib import Path

from haqn.lab.command import run

ROOT = Path(__file__).parents[2]


def test_the_sample_configuration_is_current(tmp_path: Path) -> None:
    generated = tmp_path / "haqn.conf.sample"

    run(
        [
            str(Path(sys.executable).parent / "oslo-config-generator"),
            f"--config-file={ROOT}/etc/oslo-config-generator/haqn.conf",
            f"--output-file={generated}",
        ]
    )

    assert generated.read_text() == (ROOT / "etc/haqn/haqn.conf.sample").read_text(), "run `make sample`"


def test_the_sample_policy_is_current(tmp_path: Path) -> None:
    generated = tmp_path / "policy.yaml.sample"

    run(
        [
            str(Path(sys.executable).parent / "oslopolicy-sample-generator"),
            "--namespace=haqn",
            f"--output-file={generated}",
        ]
    )

    assert generated.read_text() == (ROOT / "etc/haqn/policy.yaml.sample").read_text(), "run `make sample`"
