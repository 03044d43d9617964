"""Networks of timm: refused in one line without it; with it, in an environment of its own, used as any other."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from kilnet.config import ModelConfig, is_foreign
from kilnet.errors import MissingPackageError
from kilnet.models import complete

ROOT = Path(__file__).parents[1]
# A torch and a torchvision that fit each other: the build for development has no torchvision.
PACKAGES = ["torch==2.14.1", "torchvision==0.29.1", "timm==1.0.31", "pytest", "pytest-timeout"]


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
def test_without_the_package_one_line_says_what_to_install():
    with pytest.raises(MissingPackageError, match=r"pip install 'kilnet\[timm\]'"):
        complete(ModelConfig(name="timm:resnet18"))


def test_a_network_of_timm_is_no_code_of_somebody():
    assert not is_foreign("timm:resnet18")
    assert is_foreign("timms:build")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_networks_of_timm_in_an_environment_of_their_own(tmp_path):
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    subprocess.run([*install, "--editable", f"{ROOT}[export]"], check=True)
    tests = ROOT / "tests" / "environments" / "timm_networks.py"
    call = [python, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", tmp_path / "tests", tests]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "skipped" not in done.stdout
