"""Faults: killed, full disk, damaged checkpoints, two processes in a folder, another run's folder, NaN."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hmc_problems import blobs
from interrupted import check_that_it_goes_on, files_of
from torch import nn

from holdfast.inference import Training
from holdfast.inference.hmc import Plan, checkpoints, hmc, processes
from holdfast.inference.hmc.chains import run_chains
from holdfast.inference.hmc.checkpoints import Checkpoints, DamagedCheckpoint
from holdfast.inference.hmc.home import OtherVersions
from holdfast.networks import normalised

PLAN = Plan(chains=2, draws=6, warm_up=3, burn_in=(0.3,), start=Training(epochs=2))


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return normalised(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)), 0.5, 0.3)


def run(folder, **changes):
    return hmc(network(), blobs(60), **{"seed": 0, "preset": PLAN, "folder": folder, **changes})


def same(a, b):
    assert all(torch.equal(v, b.weights[k]) for k, v in a.weights.items())
    assert a.diagnostics == b.diagnostics


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing happened to, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return run(folder), folder


@pytest.mark.parametrize("until", ["warm-up-00001*", "draw-00002*"])
def test_a_killed_run_goes_on_with_the_same_bytes(whole, tmp_path, until):
    check_that_it_goes_on("test_hmc_checkpoints", run, same, whole, tmp_path, until)


@pytest.mark.parametrize("fault", ["cut", "flipped", "emptied", "gone"])
@pytest.mark.parametrize("which", ["draw-00003", "warm-up"])
def test_a_damaged_checkpoint_is_computed_again(whole, tmp_path, fault, which):
    for name, content in files_of(whole[1]).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "manifest.json").write_bytes((whole[1] / "manifest.json").read_bytes())
    file = sorted(tmp_path.rglob(f"{which}*"))[-1]
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes({"cut": content[:200], "flipped": bytes(content), "emptied": b""}.get(fault, b""))
    if fault == "gone":
        file.unlink()
        same(run(tmp_path), whole[0])
    else:
        with pytest.warns(DamagedCheckpoint, match=f"{file.name} is damaged .*; it is computed again"):
            found = run(tmp_path)
        same(found, whole[0])
    assert files_of(tmp_path) == files_of(whole[1])


def test_a_draw_that_does_not_follow_is_computed_again(whole, tmp_path):
    other = tmp_path / "other"
    run(other, seed=1)
    run(tmp_path / "this")
    (stray,) = other.rglob("draw-00002*")
    (place,) = (tmp_path / "this").rglob("draw-00002*")
    place.write_bytes(stray.read_bytes())
    with pytest.warns(DamagedCheckpoint, match="it does not follow the draw before it"):
        same(run(tmp_path / "this"), whole[0])


def test_a_damaged_fit_is_made_again(whole, tmp_path):
    run(tmp_path, draws=1)
    (tmp_path / "start.safetensors").write_bytes(b"nonsense")
    with pytest.warns(DamagedCheckpoint, match=r"start.safetensors is damaged .*; it is computed again"):
        same(run(tmp_path), whole[0])


def test_a_full_disk_keeps_what_is_finished(whole, tmp_path, monkeypatch):
    inner = checkpoints.save_file

    def full(tensors, path, metadata):
        if "draw-00002" in str(path):
            Path(path).write_bytes(b"half a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        inner(tensors, path, metadata)

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match=r"draw-00002.safetensors could not be written .*No space left.*make room"):
        run(tmp_path)
    finished = files_of(tmp_path)
    assert sum("draw" in str(f) for f in finished) == 2
    assert not list(tmp_path.rglob("*.partial"))
    monkeypatch.setattr(checkpoints, "save_file", inner)
    same(run(tmp_path), whole[0])


def test_a_disk_that_is_full_from_the_start(tmp_path, monkeypatch):
    def full(file, text):
        file.write_bytes(b"half a manifest")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"the folder .* could not be begun .*No space left.*; nothing has been computed"):
        run(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"the folder .*file could not be begun .*; .* choose a folder that can be"):
        run(tmp_path / "file")


@pytest.mark.parametrize("content", ["[]", "7", "null", '{"seed": '])
def test_a_manifest_that_says_nothing(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json cannot be read .*; choose another folder"):
        run(tmp_path)


def test_a_folder_begun_by_other_versions_is_told(whole, tmp_path):
    manifest = json.loads((whole[1] / "manifest.json").read_text())
    assert manifest["versions"]["torch"] == torch.__version__
    for versions in ({"holdfast": "0.0.1", "torch": "2.0"}, None):
        (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"versions": versions}))
        begun = "holdfast 0.0.1, torch 2.0" if versions else "a version that did not say its name"
        with pytest.warns(OtherVersions, match=f"was begun by {begun}, this is holdfast .*; choose another folder"):
            same(run(tmp_path), whole[0])


def test_one_process_per_chain_and_one_of_them_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "STACKED_CPU", 0.0)
    plan = Plan(chains=2, draws=2, warm_up=3, burn_in=(0.3,), start=Training(epochs=2))
    (tmp_path / "chains-01").write_text("a file where a folder should be")
    with pytest.raises(
        FileExistsError, match=r"chains-01 of the checkpoints could not be begun .File exists"
    ):  # raised in the chain's own process
        run(tmp_path, preset=plan, draws=3000)
    assert len(list(tmp_path.rglob("draw-*"))) < 2900  # the other chain was told
    (tmp_path / "chains-01").unlink()
    finished = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("draw-*")}
    apart = run(tmp_path, preset=plan)
    assert all(f.stat().st_mtime_ns == stamp for f, stamp in finished.items())
    assert sorted(f.name for f in tmp_path.glob("chains-*")) == ["chains-00", "chains-01"]
    threads = torch.get_num_threads()
    same(run(None, preset=plan, processes=1), apart)  # one after the other in this process
    assert torch.get_num_threads() == threads
    monkeypatch.undo()
    alone = run(None, preset=plan)  # as one stack: a step for both, so other draws
    assert apart.diagnostics.settings == alone.diagnostics.settings
    first, second = (apart[slice(k, k + 2)].weights["0.weight"] for k in (0, 2))
    assert not torch.equal(first[-1], second[0])


def killed_when(found, number=-1):
    """A thread that kills one of the processes that this one has started, as soon as something is found."""

    def kill():
        deadline = time.monotonic() + 60
        while not found() and time.monotonic() < deadline:
            time.sleep(0.02)
        begun = sorted(multiprocessing.active_children(), key=lambda p: int(p.name.rpartition("-")[2]))
        os.kill(begun[number].pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [0, -1])
def test_a_chains_process_that_is_killed_is_one_clear_error(tmp_path, monkeypatch, number):
    monkeypatch.setattr(processes, "STACKED_CPU", 0.0)
    both = lambda folder: all(any(folder.glob(f"chains-0{k}/draw-00001*")) for k in (0, 1))
    thread = killed_when(lambda: both(tmp_path), number)
    with pytest.raises(
        ChildProcessError,
        match=r"process of a chain ended without a word, chains 0, 1 of 2 not finished; finished draws are kept in .*: "
        r"call again with the same arguments to go on.* want of memory, processes=1",
    ):
        run(tmp_path, draws=100_000)  # none ends while the other is still being begun
    thread.join()
    finished = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("draw-*")}
    apart = run(tmp_path, draws=2, processes=1)
    same(apart, run(None, draws=2, processes=1))
    assert all(f.stat().st_mtime_ns == stamp for f, stamp in finished.items())


def test_what_is_said_of_processes_that_ended(tmp_path):
    ended = Future()
    ended.set_result(None)
    problem = SimpleNamespace(start=torch.zeros(2, 1), folder=tmp_path, temporary=True)
    assert "does the script call hmc under `if __name__" in processes._died(problem, [ended])
    (tmp_path / "chains-00").mkdir()
    said = processes._died(problem, [ended])
    assert "chain 1 of 2 not finished; their draws are lost with the temporary folder: pass folder=" in said


def test_two_processes_do_not_share_a_folder(whole):
    from filelock import FileLock

    (folder,) = whole[1].glob("chains-*")
    script = (
        "import sys, filelock, time; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); "
        "print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(folder / ".lock")], stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        with pytest.raises(BlockingIOError, match=r"another process is working in .*choose another folder"):
            run(whole[1])
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with FileLock(folder / ".lock"):
        pass


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"seed": 1}, "holds another run: its seed is 0, here it is 1; call with the same arguments"),
        ({"temperature": 0.5}, "its temperature is 1.0, here it is 0.5"),
        ({"prior": "unit"}, "its prior is .*FanIn.*, here it is .*Isotropic"),
    ],
)
def test_a_folder_of_another_run(whole, changes, match):
    with pytest.raises(ValueError, match=match):
        run(whole[1], **changes)


def test_a_folder_of_another_network_or_of_other_images(whole):
    other = normalised(nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 3)), 0.5, 0.3)
    with pytest.raises(ValueError, match="holds another run: its network is"):
        hmc(other, blobs(60), seed=0, preset=PLAN, folder=whole[1])
    with pytest.raises(ValueError, match="holds another run: its data is"):
        hmc(network(), blobs(60, seed=3), seed=0, preset=PLAN, folder=whole[1])


class Cliff:
    """A likelihood that is NaN beyond z = 1."""

    def nll(self, z):
        return torch.where(z[:, 0] > 1, torch.nan, 0.0).double()

    def gradient(self, z):
        return torch.where(z > 1, torch.nan, torch.zeros_like(z))

    def __call__(self, z):
        return self.nll(z), self.gradient(z)


def test_nan_losses_are_refused_and_counted(tmp_path):
    plan = Plan(chains=50, draws=40, warm_up=3, burn_in=())
    *_, done = run_chains(Cliff(), torch.zeros(50, 1), list(range(50)), 0, plan, 0.3, Checkpoints(tmp_path))
    draws = torch.stack(done.draws)
    assert bool((draws <= 1).all())
    assert float(draws.std()) > 0.5
    assert any(e == float("inf") for record in done.records for e in record["error"])


def test_a_start_without_a_finite_loss_is_an_error(tmp_path):
    with pytest.raises(FloatingPointError, match=r"the loss at the start is .*nan.*; check the images"):
        next(run_chains(Cliff(), torch.full((1, 1), 2.0), [0], 0, PLAN, 0.1, Checkpoints(tmp_path)))


def test_diverging_at_every_step_is_an_error(tmp_path):
    class Spike(Cliff):
        def nll(self, z):
            return torch.where(z.abs().sum(1) > 0, torch.nan, 0.0).double()

    with pytest.raises(FloatingPointError, match="diverge even with a step of 1e-8"):
        list(run_chains(Spike(), torch.zeros(1, 1), [0], 0, Plan(burn_in=(1e-9,)), 0.1, Checkpoints(tmp_path)))


def test_a_folder_of_other_buffers_or_with_a_damaged_manifest(whole, tmp_path):
    plain = nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 3))
    hmc(normalised(plain, 0.5, 0.3), blobs(60), seed=0, preset=PLAN, folder=tmp_path)
    with pytest.raises(ValueError, match=r"holds another run: its (network|buffers) is"):
        hmc(normalised(plain, 5.0, 9.0), blobs(60), seed=0, preset=PLAN, folder=tmp_path)
    (tmp_path / "manifest.json").write_text('{"seed": ')
    with pytest.raises(ValueError, match=r"manifest\.json cannot be read .*; choose another folder"):
        hmc(normalised(plain, 0.5, 0.3), blobs(60), seed=0, preset=PLAN, folder=tmp_path)
