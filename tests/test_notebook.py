"""The notebook of docs/examples runs from an empty folder, and shows what its text says."""

from pathlib import Path

import nbclient
import nbformat

NOTEBOOK = Path(__file__).parent.parent / "docs" / "examples" / "compare_schemes.ipynb"


def test_the_notebook_trains_compares_and_plots(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=settings).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output["text"] for output in outputs if output.output_type == "stream")
    shown = [output["data"] for output in outputs if "data" in output]
    assert "step: " in printed and printed.count("<- trained at") == 3  # progress bars, three runs
    assert sum("image/png" in data for data in shown) == 1
    [table] = [data["text/html"] for data in shown if "text/html" in data]
    assert all(name in table for name in ("learned", "t5_bias", "alibi", "512"))
    assert len(list((tmp_path / "results" / "runs").glob("*/done.json"))) == 3
