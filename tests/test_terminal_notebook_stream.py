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
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [output for output in notebook.cells[0].outputs if output.output_type == "display_data"]
    assert len(shown) == 1
    page = shown[0].data["text/html"]
    assert page.index("first &lt;line&gt;") < page.index("second line") < page.index(tmp_path.name)
