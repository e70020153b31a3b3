"""What the documentation tells to type and to look at exists."""

import itertools
import re
import shlex
import warnings
from pathlib import Path

import pytest

from haqn import conf as haqn_conf
from haqn.cmd import lab, manage

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "doc").glob("*.md")), ROOT / "README.md"]
OPTIONS = {(group, option.name) for group, options in haqn_conf.list_opts() for option in options}


_PUNCTUATION = "();|&<>"


def statements(line):
    """The commands of one line of a shell, as words."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=_PUNCTUATION)
    lexer.whitespace_split = True
    for is_punctuation, words in itertools.groupby(lexer, lambda word: set(word) <= set(_PUNCTUATION)):
        if not is_punctuation:
            yield list(words)


def commands(program):
    """Arguments of that program in all console blocks; placeholders are in capitals."""
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.splitlines():
                for words in statements(line.strip().removeprefix("# ")):
                    if words[0].rpartition("/")[2] == program and words[1:] != ["--help"]:
                        yield pytest.param(words[1:], id=f"{page.stem}: {' '.join(words)}")


@pytest.mark.parametrize("arguments", list(commands("haqn-manage")))
def test_haqn_manage_has_these_commands(arguments):
    assert manage._parser().parse_args(arguments).command is not None


@pytest.mark.parametrize("arguments", list(commands("haqn-lab")))
def test_haqn_lab_has_these_commands(arguments):
    assert lab._parser().parse_args(arguments).command is not None


@pytest.fixture(scope="module")
def openstack():
    """The real client's commands; what it is told on the way is its own business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from openstackclient.shell import OpenStackShell  # noqa: PLC0415 - takes seconds

        shell = OpenStackShell()
        for group in ("openstack.network.v2", "openstack.identity.v3"):
            shell.command_manager.add_command_group(group)
        yield shell


@pytest.mark.parametrize("arguments", list(commands("openstack")))
def test_openstack_has_these_commands(openstack, arguments):
    found, name, rest = openstack.command_manager.find_command(arguments)
    found(openstack, None, cmd_name=name).get_parser(name).parse_args(rest)


@pytest.mark.parametrize("arguments", list(commands("systemctl")))
def test_units_exist(arguments):
    units = {unit.stem for unit in (ROOT / "deploy" / "systemd").glob("*.service")} | {"keepalived", "etcd"}
    assert set(arguments[1:]) - {"--now"} <= units


def test_options_exist():
    named = [match for page in PAGES for match in re.findall(r"`\[([a-z]+)\] ([a-z_]+)`", page.read_text())]
    assert len(named) > 10
    assert set(named) <= OPTIONS


def test_files_exist():
    pattern = r"`((?:tests|deploy|devstack|haqn|doc)/[\w./-]+)`"
    named = [match for page in PAGES for match in re.findall(pattern, page.read_text())]
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


#: made by Sphinx from the code; it looks at links to their headings itself
MADE = {"reference/rest.md", "reference/etcd.md", "reference/configuration.md"}
TEXTS = sorted({*ROOT.glob("*.md"), *(ROOT / "doc").glob("*.md"), *(ROOT / "doc" / "adr").glob("*.md")})


def prose_of(page):
    """Without blocks and pieces of code."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)


def anchors_of(page):
    """Of its headings, as GitHub and MyST name them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links():
    for page in TEXTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
            if not re.match(r"[a-z]+:", target):
                yield page, target


def leads_nowhere(page, target):
    path, _, anchor = target.partition("#")
    if path in MADE:
        return False
    found = (page.parent / path).resolve() if path else page
    return not found.is_file() or (anchor and anchor not in anchors_of(found))


def test_links_lead_somewhere():
    found = list(links())
    assert len(found) > 10
    assert all(leads_nowhere(ROOT / "doc" / "index.md", wrong) for wrong in ("nope.md", "security.md#nope", "#nope"))
    assert [(page.name, target) for page, target in found if leads_nowhere(page, target)] == []


def test_adrs_exist():
    """ADRs that pages name without a link: `adr/0005`, ADR 9."""
    there = {int(path.name[:4]) for path in (ROOT / "doc" / "adr").glob("*.md")}
    named = {int(n) for page in TEXTS for n in re.findall(r"(?:adr/|ADR )(\d+)", page.read_text())}
    assert named
    assert named <= there
