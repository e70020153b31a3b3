"""What Prometheus finds in a running cluster, and that rules and dashboard ask for nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import requests
import yaml

from haqn.lab import services
from haqn.lab.scenery import wait_for
from tests.functional.system.stage import TTL, Stage

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus" / "haqn.rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "haqn.json"
AGENT_PORT = 9798
#: labels that an alert has besides its severity, of the series below
EXTRA = {"HaqnRoutersWithoutForwarder": {"state": "no_active"}, "HaqnLeaseNearlyLost": {"instance": "net1"}}
_GET = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())"

pytestmark = pytest.mark.functional


def promtool(*arguments: str, text: str = "") -> None:
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def scrape(stage: Stage, host: str, port: int) -> str:
    return stage.host(host).run(["/usr/bin/python3", "-c", _GET, f"http://127.0.0.1:{port}/metrics"]).stdout


def samples(text: str) -> dict[str, float]:
    """`name{labels}` -> value."""
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def asked_for() -> set[str]:
    """Names of haqn's metrics in all expressions of rules and dashboard."""
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    panels = json.loads(DASHBOARD.read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    text = "\n".join(rules + shown).replace(
        "haqn_(monitor|agent)_lease_margin_seconds", "haqn_monitor_lease_margin_seconds haqn_agent_lease_margin_seconds"
    )
    return set(re.findall(r"\bhaqn_[a-z_]+", text))


def test_prometheus_finds_what_rules_and_dashboard_ask_for(stage: Stage) -> None:
    with requests.Session() as session:
        session.trust_env = False
        for _ in range(3):
            session.get(f"{stage.lab.spec.api_url}/v2.0/networks", timeout=20)
        of_api = session.get(f"{stage.lab.spec.api_url}/metrics", timeout=20).text
    of_agents = {host: scrape(stage, host, AGENT_PORT) for host in stage.hosts}
    leader = stage.leading_monitor()
    port = services.METRICS_PORT + int(leader.name.removeprefix("monitor")) - 1
    of_leader = scrape(stage, leader.host, port)
    for text in (of_api, of_leader, *of_agents.values()):
        promtool("check", "metrics", text=text)

    found = samples("\n".join([of_api, of_leader, *of_agents.values()]))
    assert asked_for() - {name.partition("{")[0] for name in found} == {
        # there is one only after the first
        name
        for name in ("haqn_failover_events_total", "haqn_failover_outage_seconds_total")
        if not any(sample.startswith(name) for sample in found)
    }
    assert found['haqn_api_request_seconds_count{method="GET",resource="/v2.0/networks",status="2xx"}'] >= 3
    assert found["haqn_monitor_leads"] == 1
    assert found['haqn_agents{alive="true",type="L3 agent"}'] == len(stage.hosts)
    assert found['haqn_routers_on_pairs{state="no_active"}'] == 0
    masters = {host: samples(text)['haqn_agent_pairs{state="MASTER"}'] for host, text in of_agents.items()}
    # others may lead pairs that no router rides on
    assert masters[stage.active] >= 1
    wait_for(
        "the leader's router is redundant",
        lambda: samples(scrape(stage, leader.host, port))['haqn_routers_by_redundancy{redundancy="full"}'] == 1,
    )


def test_numbers_follow_what_happens(stage: Stage) -> None:
    leader = stage.leading_monitor()
    port = services.METRICS_PORT + int(leader.name.removeprefix("monitor")) - 1
    events = 'haqn_failover_events_total{cause="switchover",kind="transition"}'
    alive = 'haqn_agents{alive="true",type="L3 agent"}'

    def cluster(name: str) -> float:
        return samples(scrape(stage, leader.host, port)).get(name, 0.0)

    def host(name: str, metric: str) -> float:
        return samples(scrape(stage, name, AGENT_PORT))[metric]

    routers, built = cluster("haqn_routers"), host(stage.active, "haqn_agent_routers")
    router = stage.scenario.add_router(73)
    wait_for("the leader counts the new router", lambda: cluster("haqn_routers") == routers + 1)
    wait_for(
        "its agents do",
        lambda: sum(host(name, "haqn_agent_routers") for name in stage.hosts) >= 2 * (built + 1),
    )
    stage.delete_router(router["id"])
    wait_for("it is counted no longer", lambda: cluster("haqn_routers") == routers)

    happened, heir = cluster(events), stage.standby
    transitions = host(heir, "haqn_agent_transitions_total")
    services.manage(stage.lab, "switchover", str(stage.pair))
    wait_for("the failover is counted", lambda: cluster(events) >= happened + 1)
    wait_for("by the host, too", lambda: host(heir, "haqn_agent_transitions_total") > transitions)
    assert cluster("haqn_monitor_plan_seconds_count") > 0

    idle = next(name for name in stage.hosts if name not in (stage.active, stage.standby))
    services.stop(stage.lab, stage.agent(idle))
    wait_for("a dead agent is counted", lambda: cluster(alive) == len(stage.hosts) - 1)
    services.start(stage.lab, stage.agent(idle))
    wait_for("and an agent that is back", lambda: cluster(alive) == len(stage.hosts))
    assert 0 < host(idle, "haqn_agent_lease_margin_seconds") <= TTL


def test_the_alert_rules_are_rules(tmp_path: Path) -> None:
    promtool("check", "rules", str(RULES))
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(RULES.read_text().replace("sum(", "summ(", 1))
    with pytest.raises(AssertionError, match="summ"):
        promtool("check", "rules", str(wrong))


def test_the_alerts_that_matter_most_fire(tmp_path: Path) -> None:
    def fires(alert: str, at: str, severity: str, *, expected: bool = True) -> dict[str, object]:
        found = [{"exp_labels": {"severity": severity, **EXTRA.get(alert, {})}}] if expected else []
        return {"eval_time": at, "alertname": alert, "exp_alerts": found}

    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]  # their words are not the point
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    series = {
        'haqn_monitor_leads{instance="a"}': "0+0x4 1+0x20",
        'haqn_routers_on_pairs{state="no_active"}': "0+0x4 3+0x20",
        'haqn_routers_by_redundancy{redundancy="none"}': "2+0x100",
        'haqn_agent_lease_margin_seconds{instance="net1"}': "9+0x4 1+0x20",
        # somebody always writes; the leader reads for five minutes, and then no more
        "haqn_outbox_unread_lines": "3+0x100",
        "haqn_monitor_cycle_seconds_count": "0+15x20 300+0x80",
        "haqn_outbox_lines": "2000+500x100",
    }
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [
                    fires("HaqnNoLeader", "45s", "page", expected=False),
                    fires("HaqnNoLeader", "60s", "page"),
                    fires("HaqnNoLeader", "75s", "page", expected=False),
                    fires("HaqnRoutersWithoutForwarder", "60s", "page", expected=False),
                    fires("HaqnRoutersWithoutForwarder", "90s", "page"),
                    fires("HaqnRedundancyLost", "9m", "ticket", expected=False),
                    fires("HaqnRedundancyLost", "11m", "ticket"),
                    fires("HaqnLeaseNearlyLost", "3m", "ticket"),
                    fires("HaqnChangesUnread", "4m", "page", expected=False),
                    fires("HaqnChangesUnread", "9m", "page"),
                    fires("HaqnOutboxGrows", "9m", "ticket", expected=False),
                    fires("HaqnOutboxGrows", "20m", "ticket"),
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", str(tmp_path / "test.yml"))
