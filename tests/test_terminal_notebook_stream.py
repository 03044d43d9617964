"""Progress in a real kernel."""

import nbclient
import nbformat


def test_progress_is_one_output_that_grows(tmp_path):
    code = f"""
from kilnet.terminal.progress import ProgressDisplay
with ProgressDisplay() as display:
    display.say("first <line>")
    display.say("second line")
    display.say("{tmp_path.name}")
    display.advance("reading", 1, 2)
    display.console.print("bold", style="bold")
"""
    silent = "with ProgressDisplay() as display: pass\nimport kilnet.tuning.search"
    cells = [nbformat.v4.new_code_cell(source) for source in (code, silent)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [output for output in notebook.cells[0].outputs if output.output_type == "display_data"]
    assert len(shown) == 1
    page = shown[0].data["text/html"]
    assert "\x1b" not in page, "a page moves no cursor, and has other colours"
    assert page.index("first &lt;line&gt;") < page.index("second line") < page.index(tmp_path.name)
    assert notebook.cells[1].outputs == [], "who says nothing shows nothing"
