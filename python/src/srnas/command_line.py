"""The command line of a program that is an evaluator."""

import argparse
import logging
import sys
from typing import TYPE_CHECKING, Any, Optional, Sequence

from .errors import Error
from .session import PATIENCE

if TYPE_CHECKING:
    from .evaluator import Evaluator


def main(evaluator: "Evaluator[Any]", arguments: Optional[Sequence[str]] = None) -> None:
    """Runs an evaluator with options from the command line."""
    parser = argparse.ArgumentParser(description=(evaluator.__doc__ or "Measures architectures.").split("\n\n")[0])
    add = parser.add_argument
    add("--search", "--learner", dest="learner", metavar="URL", required=True, help="address of the search, such as http://host:7778")
    add("--id", metavar="NAME", help="name of its own [default: the machine's name and the process number]")
    add("--parallel", metavar="N", type=int, default=1, help="measurements at a time [default: 1]")
    add(
        "--patience",
        metavar="SECONDS",
        type=float,
        default=PATIENCE,
        help="give up when no search answers for so long [default: 3600; inf: never]",
    )
    add("--token-file", metavar="F", help="the search's token [default: $SRNAS_TOKEN_FILE]")
    add("--tls-ca", metavar="F", help="CA that signed the search's certificate, PEM")
    add("--tls-cert", metavar="F", help="certificate to show, PEM")
    add("--tls-key", metavar="F", help="its private key, PEM")
    options = vars(parser.parse_args(arguments))
    if options["parallel"] < 1:
        parser.error("--parallel: at least one at a time")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        evaluator.run(**options)
    except (Error, ValueError, OSError) as error:
        sys.exit(f"error: {error}")
