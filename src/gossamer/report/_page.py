"""The page: template, style, chart library and data together, under a policy that lets nothing be loaded."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from gossamer.errors import MissingDependencyError
from gossamer.measure.records import Comparison
from gossamer.report import _units as units
from gossamer.report import _vega as vega
from gossamer.report._charts import Charts, charts
from gossamer.report._clean import cleaned
from gossamer.report._headline import figures, speeds, summary, title
from gossamer.report._layers import unassigned
from gossamer.report._notes import notes
from gossamer.report._quality import Quality
from gossamer.report._stages import points

if TYPE_CHECKING:
    import jinja2

_JSON = {"sort_keys": True, "allow_nan": False, "separators": (",", ":")}  # the same bytes for the same data
_FILTERS = (units.size, units.duration, units.span, units.count, units.exact, units.bits, units.ratio)


def render(comparison: Comparison) -> str:
    """One HTML page that needs no other file and no network. The same comparison gives the same text.

    Raises :class:`MissingDependencyError` when jinja2 or vl-convert-python is not installed.
    """
    comparison = cleaned(comparison)
    rows = points(comparison)
    drawn = charts(comparison, rows)
    rest = unassigned(comparison.final)
    return _template().render(
        c=comparison,
        title=title(comparison),
        summary=summary(comparison),
        figures=figures(comparison),
        points=rows,
        quality=Quality.of(comparison),
        quality_known=any(row.measurement.metric is not None for row in rows),
        latency_known=any(row.latency_ms is not None for row in rows),
        speeds=speeds(comparison),
        layers=comparison.final.layers,
        rest=rest,
        assigned=comparison.final.file_bytes - rest,
        charts=drawn,
        chart_data=_chart_data(drawn),
        notes=notes(comparison),
        date=comparison.machine.date.replace("T", " ").replace("+00:00", " UTC"),
        policy=_policy(),
    )


def _chart_data(drawn: Charts) -> dict[str, Any]:
    figures = {chart.key: {"kind": chart.kind, "datasets": chart.datasets} for chart in drawn.all()}
    specs = {chart.kind: chart.spec for chart in drawn.all()}
    return {"config": vega.CONFIG, "specs": specs, "charts": figures}


@cache
def _template() -> jinja2.Template:
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as missing:
        raise _not_installed("jinja2") from missing
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.policies["json.dumps_kwargs"] = _JSON
    for written in _FILTERS:
        environment.filters[written.__name__] = written
    environment.filters["breakable"] = _breakable
    best = Markup('<span class="star" title="Pareto-optimal">★</span> ')
    environment.globals.update(
        percent=units.percent,
        quotient=units.quotient,
        TIMES=units.TIMES,
        absent=units.ABSENT,
        star=lambda optimal: best if optimal else "",
        style=Markup(_file("style.css")),  # ours, not data: the only texts that are not escaped
        script=Markup(_file("page.js")),
        library=Markup(_library()),
    )
    return environment.from_string(_file("template.html.j2"))


def _breakable(text: str) -> Any:
    """A layer's path, which a narrow column may break after its dots and slashes."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([./])(?=\w)", r"\1<wbr>", str(escape(text))))


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, from the vl-convert package; it needs no network."""
    try:
        import vl_convert
    except ImportError as missing:
        raise _not_installed("vl-convert-python") from missing
    library = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    for ending in ("</script", "<!--"):  # in HTML these would end the script element early
        library = library.replace(ending, "\\x3c" + ending[1:])
    return library


@cache
def _policy() -> str:
    """Content-Security-Policy: these two scripts run, no other; nothing is fetched, no string evaluated."""
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in (_library(), _file("page.js")))
    fixed = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return f"{fixed}; script-src {hashes}"


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _not_installed(package: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"the report needs {package}, which is not installed; repair: pip install 'gossamer[compress]'"
    )
