"""The view of lengthgen's runs that a W&B project has: panels and columns by name.

Built with the library wandb-workspaces, which saves it where an account is; as JSON it is the
`spec` that W&B's API takes. Names are those that wandb_process.py logs.
"""

import json
from collections.abc import Sequence
from typing import Any

from lengthgen.errors import ConfigError

FIGURES = ("loss_by_length", "loss_by_position", "fails_or_uses")
COLUMNS = ("loss", "loss_change", "word")  # of the matched protocol, at each length


def workspace(entity: str, project: str, name: str, lengths: Sequence[int]) -> Any:
    """A wandb_workspaces Workspace, not yet saved. ConfigError where the library is missing.

    lengths: evaluation lengths (tokens) whose loss, change and word are columns of the runs' table.
    """
    try:
        from wandb_workspaces import workspaces
    except ImportError:
        raise ConfigError(
            "lengthgen dashboard needs the library wandb-workspaces: "
            "pip install 'lengthgen[dashboard]'"
        ) from None
    titles = {f"summary:eval/matched/{column}@{n:06d}" for n in lengths for column in COLUMNS}
    order = sorted(titles, key=lambda title: (title.partition("@")[2], title))
    # A group is the seeds of one scheme and set-up: the mean over it is the mean over seeds.
    runs = workspaces.RunsetSettings(groupby=[workspaces.Metric("group")], pinned_columns=order)
    return workspaces.Workspace(
        entity=entity, project=project, name=name, sections=_sections(), runset_settings=runs
    )


def save(view: Any) -> str:
    """Save the workspace; its address. ConfigError without an account or a server that answers."""
    import wandb

    if not wandb.api.api_key:
        raise ConfigError("no W&B account is logged in: `wandb login`, or --to FILE for a file")
    try:
        return view.save().url
    except Exception as error:  # of wandb, its transport, or its server's answer
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"W&B did not take the workspace ({reason}); --to FILE needs none"
        ) from None


def spec(view: Any) -> dict[str, Any]:
    """The workspace as W&B's API takes it."""
    return json.loads(view._to_model().model_dump_json(by_alias=True, exclude_none=True))["spec"]


def _sections() -> list[Any]:
    import wandb_workspaces.reports.v2 as panels
    from wandb_workspaces import workspaces

    def line(title: str, x: str, y: Sequence[str], **how: Any) -> Any:
        seeds: dict[str, Any] = {
            "groupby": "group",
            "groupby_aggfunc": "mean",
            "groupby_rangefunc": "minmax",
        }
        return panels.LinePlot(title=title, x=x, y=list(y), **seeds, **how)

    def by_length(metric: str, unit: str, **how: Any) -> Any:
        axes: dict[str, Any] = {
            "title_x": "evaluation length [tokens]",
            "title_y": unit,
            "log_x": True,
        }
        y = [f"eval/matched/{metric}"]
        return line(f"{metric} by evaluation length", "eval/length", y, **axes, **how)

    curves = [
        by_length("loss", "nats a token"),
        by_length("perplexity", "", log_y=True),
        by_length("loss_change", "nats a token, from the training length"),
    ]
    training = [
        line(title, "train/step", [title])
        for title in ("train/loss", "validation/loss", "train/grad_norm", "train/tokens_per_second")
    ]
    during = panels.LinePlot(
        title="loss at and past the training length (evaluate_every)",
        x="train/step",
        metric_regex="lengths/loss@.*",
    )
    images = panels.MediaBrowser(media_keys=[f"figures/{name}" for name in FIGURES])
    return [
        workspaces.Section(name="Length curves", panels=curves, is_open=True),
        workspaces.Section(name="When it begins to fail", panels=[during], is_open=True),
        workspaces.Section(name="Training", panels=training, is_open=True),
        workspaces.Section(name="Figures", panels=[images], is_open=False),
    ]
