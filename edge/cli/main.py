"""``lanepulse``: one program, verbs first. A command's code is imported only when it is asked for.

Exit codes: 0 done, 1 the answer is no, 2 wrong use or unreadable input, 3 a device or service could not be reached.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

import click

from edge.cli.output import ReaderGone, tell

DONE, NO, WRONG_USE, UNREACHABLE, STOPPED = 0, 1, 2, 3, 130
TEXT_COLUMNS = 100  # of help texts, whatever the terminal: they are read in pipes and documents too
COMMANDS = {
    "analyse": ("edge.cli.analyse", "What works, and what is missed."),
    "audit": ("edge.cli.audit", "Were the unforeseeable searches drawn as the site says?"),
    "booth": ("edge.cli.booth", "The officer's page, for booth, tablet and phone."),
    "calibrate": ("edge.cli.calibrate", "Make sensors tell the truth, and prove it."),
    "challenge": ("edge.cli.challenge", "A known source presented, judged against its record."),
    "check": ("edge.cli.check", "Is this lane fit to run? Configuration, keys, model, disk, clock."),
    "context": ("edge.cli.context", "Say what is known of the vehicle in the lane."),
    "covert": ("edge.cli.covert", "Volunteers hidden on purpose: how many are caught?"),
    "devices": ("edge.cli.devices", "What is configured, and what answers."),
    "diagnostics": ("edge.cli.diagnostics", "What support needs to know, without secrets."),
    "drill": ("edge.cli.drill", "Practice on passages whose outcome is known."),
    "evaluate": ("edge.cli.evaluate", "What is caught, and what is not: many passages whose outcome is known."),
    "export": ("edge.cli.export", "The record as Parquet, CSV or JSON lines."),
    "journal": ("edge.cli.journal", "Is the record whole?"),
    "keys": ("edge.cli.keys", "Make, show and allow keys."),
    "models": ("edge.cli.models", "Signed models: verify, activate, and take back."),
    "outcome": ("edge.cli.outcome", "What a search found."),
    "plates": ("edge.cli.plates", "What stood on the vehicle; who looks is recorded."),
    "prompt": ("edge.cli.prompt", "The officer's prompt, in a terminal."),
    "radiographs": ("edge.cli.radiographs", "Scans that are of no passage that the lane knows."),
    "referral": ("edge.cli.referral", "From a find to a case that stands."),
    "replay": ("edge.cli.replay", "Weigh recorded passages again."),
    "report": ("edge.cli.report", "Documents for others."),
    "run": ("edge.cli.run", "The lane daemon."),
    "status": ("edge.cli.status", "The lane now."),
    "verdicts": ("edge.cli.verdicts", "The lane's verdicts."),
}
# The arrays here are small: a second thread of BLAS waits longer for the first than both save (7 times, measured on two
# busy cores), and a lane has better use for the other core. Set before anything imports numpy; children inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
EXAMPLES = """\b
Examples:
  lanepulse check --config lane.toml
  lanepulse verdicts --follow --json
"""


class _Lazy(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return [name for name, (module, _) in COMMANDS.items() if find_spec(module) is not None]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(context):
            return None
        command = import_module(COMMANDS[name][0]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[name][0]}.command is no command")
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(context)])


@click.command(cls=_Lazy, context_settings={"terminal_width": TEXT_COLUMNS}, epilog=EXAMPLES)
@click.version_option(package_name="lanepulse", prog_name="lanepulse")
def lanepulse() -> None:
    """The appliance beside a lorry lane: sensors in, one verdict per vehicle out. A person decides."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the answer is its exit code."""
    try:
        code = lanepulse.main(arguments, prog_name="lanepulse", standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return WRONG_USE
    except click.ClickException as error:
        usage = isinstance(error, click.UsageError) and error.ctx is not None
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "lanepulse"
        return _fault(f"{path}: {error.format_message()}{f' ({path} --help)' if usage else ''}", WRONG_USE)
    except (click.Abort, KeyboardInterrupt):
        return _fault("stopped; nothing was changed by stopping", STOPPED)
    except ReaderGone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has what it wanted
        return DONE
    except Exception as error:
        code = _code_of(error)
        if code is None:
            raise
        return _fault(str(error), code)


def _code_of(error: Exception) -> int | None:
    """Exit code of an error that is not our defect. Compared by name, so that nothing is imported to say it."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    if names & {"edge.control.Unreachable", "edge.publish.subscriber.Unreachable", "edge.lease.LeaseFault"}:
        return UNREACHABLE
    if names & {"calibration.record.RecordFault", "edge.control.ControlFault", "edge.publish.subscriber.OutOfStep"}:
        return NO
    if names & {"edge.referral.words.WordsRefused", "edge.journal.journal.JournalFault"}:
        return WRONG_USE
    if names & {"edge.config.ConfigErrors", "edge.keys.KeyFault", "edge.publish.message.MessageFault"}:
        return WRONG_USE
    if names & {"edge.records.lake.LakeFault", "edge.records.local_time.ZoneFault", "edge.records.costs.CostsFault"}:
        return WRONG_USE
    return None


def _fault(text: str, code: int) -> int:
    for line in text.splitlines():
        tell(line)
    return code


def main() -> None:
    """The installed command."""
    sys.exit(run())


if __name__ == "__main__":
    main()
