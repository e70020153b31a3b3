"""Many TCP connections between two places of a lab, on which the client speaks and the server echoes."""

from __future__ import annotations

import json
import subprocess

from haqn.lab.host import Host

PORT = 7777

_SERVER = f"""
import asyncio, os, sys

async def echo(reader, writer):
    while data := await reader.read(4096):
        writer.write(data)

async def main():
    server = await asyncio.start_server(echo, "", {PORT}, backlog=1000)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)

asyncio.run(main())
"""

#: speaks on each connection once a second until its input ends, then says what has become of them
_CLIENT = f"""
import asyncio, collections, json, sys

async def talk(streams, end):
    reader, writer = streams
    number = 0
    try:
        while True:
            last = end.is_set()
            number += 1
            writer.write(b"%d\\n" % number)
            answer = await asyncio.wait_for(reader.readline(), 45)
            if answer != b"%d\\n" % number:
                return "closed" if not answer else "garbled"
            if last:
                return "alive"
            await asyncio.sleep(1)
    except TimeoutError:
        return "silent"
    except OSError as error:
        return type(error).__name__

async def main():
    end = asyncio.Event()
    streams = [await asyncio.open_connection(sys.argv[1], {PORT}) for _ in range(int(sys.argv[2]))]
    tasks = [asyncio.create_task(talk(one, end)) for one in streams]
    await asyncio.sleep(1)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    end.set()
    print(json.dumps(collections.Counter(await asyncio.gather(*tasks))), flush=True)

asyncio.run(main())
"""


class Program:
    """A program of this module that runs somewhere in a lab."""

    def __init__(self, host: Host, program: str, *arguments: str, namespace: str | None = None) -> None:
        self._process = subprocess.Popen(
            host.enter(["python3", "-SIc", program, *arguments], namespace=namespace),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def end(self) -> str:
        """Close its input and wait; what it says."""
        return self._process.communicate(timeout=90)[0]

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        # it is a child of a child, and ends when its input does
        if self._process.returncode is None:
            self._process.communicate(timeout=90)


def server(host: Host, namespace: str | None = None) -> Program:
    """Echoes what comes in on PORT."""
    return Program(host, _SERVER, namespace=namespace)


def client(host: Host, address: str, connections: int, namespace: str | None = None) -> Program:
    """Speaks to a server on so many connections, once a second each."""
    return Program(host, _CLIENT, address, str(connections), namespace=namespace)


def fates(program: Program) -> dict[str, int]:
    """What has become of a client's connections: how many are `alive`, and so on."""
    found: dict[str, int] = json.loads(program.end())
    return found
