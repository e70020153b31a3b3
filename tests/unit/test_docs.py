"""What the documentation tells to type and to look at exists."""

import re
import shlex
from pathlib import Path

import pytest

from haqn import conf as haqn_conf
from haqn.cmd import lab, manage

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "doc").glob("*.md"))
OPTIONS = {(group, option.name) for group, options in haqn_conf.list_opts() for option in options}


def commands(program):
    """Arguments of that program in all console blocks; placeholders are in capitals."""
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line.strip().removeprefix("# "), comments=True)
                if words and words[0].rpartition("/")[2] == program:
                    yield pytest.param(words[1:], id=f"{page.stem}: {' '.join(words)}")


@pytest.mark.parametrize("arguments", list(commands("haqn-manage")))
def test_haqn_manage_has_these_commands(arguments):
    assert manage._parser().parse_args(arguments).command is not None


@pytest.mark.parametrize("arguments", list(commands("haqn-lab")))
def test_haqn_lab_has_these_commands(arguments):
    assert lab._parser().parse_args(arguments).command is not None


def test_options_exist():
    named = [match for page in PAGES for match in re.findall(r"`\[([a-z]+)\] ([a-z_]+)`", page.read_text())]
    assert len(named) > 10
    assert set(named) <= OPTIONS


def test_files_exist():
    pattern = r"`((?:tests|deploy|devstack|haqn|doc)/[\w./-]+)`"
    named = [match for page in PAGES for match in re.findall(pattern, page.read_text())]
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
