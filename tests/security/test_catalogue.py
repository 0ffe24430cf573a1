"""Every case of the catalogue, at every subject: the decision without a shell, and each framework.

``tests/security/plugin.py`` says how to run other cases.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.security.outcomes import ComesLaterError, NotReplayableError
from tests.security.plugin import CONTRADICTED, FAILED, LATER, MISSED, PASSED, PROPERTY
from tests.security.running import replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.security.cases import Case
    from tests.security.replay import Tools

CONTRADICTED_CASES: dict[str, str] = yaml.safe_load(
    (Path(__file__).parent / "contradicted.yaml").read_text(encoding="utf-8")
)


def test_a_case_ends_as_it_should(
    case: Case, tools: Tools, record_property: Callable[[str, Any], None]
):
    """Every subject takes the one decision that the case expects, over every way to the records."""

    def ended(how: str, why: str = "") -> None:
        record_property(PROPERTY, {"id": case.id, "ended": how, "why": why})

    if case.id in CONTRADICTED_CASES:
        ended(CONTRADICTED, CONTRADICTED_CASES[case.id])
        pytest.skip(CONTRADICTED)
    try:
        replay(case, tools)
    except ComesLaterError as error:
        ended(LATER, str(error))
        pytest.skip(str(error))
    except NotReplayableError as error:
        ended(MISSED, str(error))
        pytest.fail(f"could not replay: {error}", pytrace=False)
    except BaseException as error:
        ended(FAILED, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        raise
    ended(PASSED)
