from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bindsearch.encoders.imagebind import fbank as fbank
from bindsearch.encoders.imagebind.fbank import CLIP_SAMPLES, RATE, log_mel, reference_clips, resample, window_clip

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT.parent / "shared" / "golden"
CHECK_GOLDEN = ROOT / "scripts" / "experiments" / "check_golden.py"


def noise(seconds: float, *, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (channels, round(seconds * rate))).astype(np.float32)


def tone(hertz: float, seconds: float = 2.0, *, rate: int = RATE) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


# One clip ---------------------------------------------------------------------------------------------------------


def test_two_seconds_give_198_frames_padded_with_zeros():
    clip = window_clip(tone(1000))
    assert clip.shape == (1, 128, 204)
    assert clip.dtype == np.float32
    assert clip[0, :, 198:] == pytest.approx(np.full((128, 6), 4.268 / 9.138), abs=1e-6)
    assert (clip[0, :, 197] != clip[0, :, 198]).any()


@pytest.mark.parametrize("hertz", [200, 1000, 4000])
def test_tone_peaks_in_its_band(hertz):
    mel = 1127 * np.log(1 + hertz / 700)
    low, high = (1127 * np.log(1 + edge / 700) for edge in (20, 8000))
    band = (mel - low) / (high - low) * 129 - 1
    assert abs(int(window_clip(tone(hertz))[0, :, :198].mean(axis=1).argmax()) - band) <= 1


def test_twice_the_amplitude_gives_four_times_the_power():
    quiet, loud = window_clip(tone(1000)), window_clip(2 * tone(1000))
    band = int(quiet[0, :, :198].mean(axis=1).argmax())
    assert (loud - quiet)[0, band, :198] == pytest.approx(np.full(198, np.log(4) / 9.138), abs=1e-5)


def test_silence_gives_the_power_floor():
    assert window_clip(np.zeros(CLIP_SAMPLES, np.float32))[0, :, :198] == pytest.approx(
        np.full((128, 198), (np.log(2.0**-23) + 4.268) / 9.138), abs=1e-6
    )


def test_long_sound_is_cut_and_less_than_a_frame_raises():
    long = noise(3.0)[0]
    assert np.array_equal(log_mel(long), log_mel(long[: 400 + 203 * 160]))
    with pytest.raises(ValueError, match="399 samples are too few: one frame has 400"):
        log_mel(long[:399])


def test_window_of_any_length_gives_finite_values():
    assert np.isfinite(window_clip(noise(0.01)[0])).all()
    assert np.isfinite(window_clip(np.zeros(0, np.float32))).all()


def test_samples_of_the_caller_are_not_changed():
    sound = noise(5.0, channels=2) + 0.2
    before = sound.copy()
    reference_clips(sound, RATE)
    window_clip(sound[0])
    assert np.array_equal(sound, before)


def test_log_mel_equals_torchaudio():
    """The reference uses torchaudio's Kaldi features."""
    torch = pytest.importorskip("torch", reason="compares with torchaudio")
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi", reason="compares with torchaudio")
    sound = noise(2.0) * np.linspace(0.01, 1, CLIP_SAMPLES, dtype=np.float32)
    sound -= sound.mean()
    options = {"htk_compat": True, "use_energy": False, "window_type": "hanning", "dither": 0.0}
    theirs = kaldi.fbank(
        torch.from_numpy(sound), sample_frequency=RATE, num_mel_bins=128, frame_length=25, frame_shift=10, **options
    )
    ours = log_mel(sound[0])[0, :, :198] * 9.138 - 4.268
    differences = np.abs(ours.T - theirs.numpy())
    assert differences.max() < 1e-3
    assert differences.mean() < 1e-5


# Clips of a recording ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "starts"),
    [
        (0.5, [0, 0, 0]),
        (2, [0, 0, 0]),
        (5, [0, 24_000, 48_000]),
        (10, [0, 64_000, 128_000]),
        (30, [0, 224_000, 448_000]),
    ],
)
def test_three_clips_are_evenly_spaced(seconds, starts):
    samples = round(seconds * RATE)
    assert fbank.clip_samples(samples) == [(start, min(start + CLIP_SAMPLES, samples)) for start in starts]


def test_clip_starts_use_exact_fractions_of_a_rounded_slack():
    """The reference's clips start there; neither integer nor float arithmetic throughout gives the same samples."""
    lengths = range(CLIP_SAMPLES, 4 * CLIP_SAMPLES, 331)
    pairs = [(fbank.clip_samples(length)[1][0], (length - CLIP_SAMPLES) // 2) for length in lengths]
    assert any(start == in_integers - 1 for start, in_integers in pairs)
    assert all(in_integers - 1 <= start <= in_integers for start, in_integers in pairs)


def test_single_clip_starts_at_the_beginning():
    assert fbank.clip_samples(5 * RATE, clips=1) == [(0, CLIP_SAMPLES)]


def test_clips_use_channel_0_centred_over_all_channels():
    sound = noise(7.0, channels=2)
    sound[1] += 0.5
    centred = sound[:, :CLIP_SAMPLES] - sound[:, :CLIP_SAMPLES].mean()
    assert reference_clips(sound, RATE)[0] == pytest.approx(log_mel(centred[0]), abs=1e-4)


# Resampling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_resampled_tone_keeps_its_pitch(rate):
    ours = resample(tone(1000, 1.0, rate=rate)[None], rate)[0]
    assert len(ours) == RATE
    assert np.abs(ours - tone(1000, 1.0))[200:-200].max() < 2e-3


def test_resampling_removes_frequencies_above_nyquist():
    assert np.abs(resample(tone(12_000, 1.0, rate=44_100)[None], 44_100)[:, 20:-20]).max() < 0.02


@pytest.mark.parametrize("rate", [11_025, 44_100, 48_000])
def test_resampling_equals_torchaudio(rate):
    torch = pytest.importorskip("torch", reason="compares with torchaudio")
    functional = pytest.importorskip("torchaudio.functional", reason="compares with torchaudio")
    sound = noise(0.7, rate=rate, channels=2)
    theirs = functional.resample(torch.from_numpy(sound), rate, RATE).numpy()
    ours = resample(sound, rate)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-5


# The tower --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="the tower needs torch")


@pytest.fixture(scope="module")
def checkpoint(torch):
    import small_imagebind

    return small_imagebind.audio_checkpoint()


def published_tower(torch, state, clips, heads: int):
    """Compute what the published tower does, with torch's own layers (attention with `add_bias_kv`)."""
    functional = torch.nn.functional
    named = {name.replace("modality_", "").replace(".audio", ""): tensor for name, tensor in state.items()}

    def norm(x, name, eps):
        return functional.layer_norm(x, x.shape[-1:], named[f"{name}.weight"], named[f"{name}.bias"], eps)

    x = functional.conv2d(clips, named["preprocessors.rgbt_stem.proj.weight"], stride=10).flatten(2).transpose(1, 2)
    x = norm(x, "preprocessors.rgbt_stem.norm_layer", 1e-5)
    x = torch.cat([named["preprocessors.cls_token"].expand(len(x), -1, -1), x], dim=1)
    x = x + named["preprocessors.pos_embedding_helper.pos_embed"]
    width = x.shape[-1]
    for number in range(sum(name.endswith("fc1.weight") for name in named)):
        block = f"trunks.blocks.{number}."
        attention = torch.nn.MultiheadAttention(width, heads, add_bias_kv=True, batch_first=True)
        attention.load_state_dict(
            {
                name.removeprefix(f"{block}attn."): tensor
                for name, tensor in named.items()
                if name.startswith(f"{block}attn.")
            }
        )
        normed = norm(x, f"{block}norm_1", 1e-6)
        x = x + attention(normed, normed, normed, need_weights=False)[0]
        hidden = functional.gelu(
            functional.linear(
                norm(x, f"{block}norm_2", 1e-6), named[f"{block}mlp.fc1.weight"], named[f"{block}mlp.fc1.bias"]
            )
        )
        x = x + functional.linear(hidden, named[f"{block}mlp.fc2.weight"], named[f"{block}mlp.fc2.bias"])
    return functional.linear(norm(x, "heads.0", 1e-6)[:, 0], named["heads.2.weight"])


def test_tower_equals_the_published_one_in_torch_layers(torch, checkpoint):
    import small_imagebind
    from bindsearch.encoders.imagebind.audio_tower import AudioTowerConfig, build_tower

    clips = torch.randn(3, 1, 128, 204, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = build_tower(checkpoint, AudioTowerConfig(**small_imagebind.AUDIO))(clips)
        theirs = published_tower(torch, checkpoint, clips, small_imagebind.HEADS)
    assert float((ours - theirs).abs().max()) < 1e-5 * float(theirs.abs().max())


def test_recording_is_the_mean_of_its_scaled_clips(torch, checkpoint):
    import small_imagebind
    from bindsearch.encoders.imagebind.audio_tower import AudioTowerConfig, build_tower

    tower = build_tower(checkpoint, AudioTowerConfig(**small_imagebind.AUDIO))
    clips = torch.randn(2, 3, 1, 128, 204, generator=torch.Generator().manual_seed(0))
    rows = tower(clips[1])
    expected = (20 * rows / rows.norm(dim=1, keepdim=True)).mean(dim=0)
    assert torch.allclose(tower.embed_recordings(clips)[1], expected, atol=1e-5)


def test_default_configuration_has_the_published_size(torch):
    from bindsearch.encoders.imagebind.audio_tower import PUBLISHED_CONFIG, AudioTower

    with torch.device("meta"):
        tower = AudioTower(PUBLISHED_CONFIG)
    assert PUBLISHED_CONFIG.patches == 228
    assert sum(parameter.numel() for parameter in tower.parameters()) == pytest.approx(86.24e6, rel=1e-4)
    assert len(tower.state_dict()) == 177


def test_missing_and_unknown_entries_are_rejected(torch, checkpoint):
    import small_imagebind
    from bindsearch.encoders.imagebind.audio_tower import AudioTowerConfig, build_tower

    config = AudioTowerConfig(**small_imagebind.AUDIO)
    incomplete = {name: tensor for name, tensor in checkpoint.items() if not name.endswith("bias_k")}
    with pytest.raises(RuntimeError, match="more_key"):
        build_tower(incomplete, config)
    with pytest.raises(RuntimeError, match=r"modality_heads\.audio\.9"):
        build_tower(checkpoint | {"modality_heads.audio.9": torch.zeros(1)}, config)


# Golden files -----------------------------------------------------------------------------------------------------


def check_golden(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, CHECK_GOLDEN, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_outputs_of_the_original_code_are_reproduced(torch):
    if not GOLDEN.exists():
        pytest.skip("needs the golden files beside this checkout")
    completed = check_golden("--tower", GOLDEN / "imagebind_audio_tiny.npz", "--fbank", GOLDEN / "imagebind_fbank.npz")
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "FAIL" not in completed.stdout


def write_golden(torch, folder: Path, *, eps: float = 1e-6) -> Path:
    """Write a golden file with the outputs of this project's tower, in other dimensions than the original's."""
    import small_imagebind
    from bindsearch.encoders.imagebind.audio_tower import AudioTowerConfig, build_tower

    state = small_imagebind.audio_checkpoint(width=32, blocks=1, dim=8)
    tower = build_tower(state, AudioTowerConfig(width=32, blocks=1, heads=2, dim=8, eps=eps))
    clips = torch.randn(1, 2, 1, 128, 204, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        head = tower(clips[0])[None]
        arrays = {
            "input_clips": clips,
            "out_head": head,
            "out_scaled": tower.normalise_and_scale(head),
            "out_mean": tower.embed_recordings(clips),
        }
    config = {
        "embed_dim": 32,
        "num_blocks": 1,
        "num_heads": 2,
        "out_dim": 8,
        "kernel": 16,
        "stride": 10,
        "mel_bins": 128,
    }
    config |= {"target_len": 204, "mlp_ratio": 4, "stem_norm_eps": 1e-5, "block_norm_eps": 1e-6, "head_norm_eps": 1e-6}
    path = folder / "golden.npz"
    np.savez(
        path, config_json=json.dumps(config), **{name: tensor.numpy() for name, tensor in (state | arrays).items()}
    )
    return path


def test_check_golden_takes_dimensions_from_the_tower_file(torch, tmp_path):
    right = check_golden("--tower", write_golden(torch, tmp_path))
    assert right.returncode == 0, right.stdout + right.stderr
    assert "[1, 2, 8]" in right.stdout
    wrong = check_golden("--tower", write_golden(torch, tmp_path, eps=1e-4))
    assert wrong.returncode == 1
    assert "FAIL" in wrong.stdout


def test_check_golden_takes_cases_from_the_fbank_file(tmp_path):
    sound = noise(2.5, rate=22_050, channels=2)
    arrays = {
        "x.waveform": sound,
        "x.sample_rate": np.int64(22_050),
        "x.num_samples_16k": np.int64(40_000),
        "x.clip_times_s": np.array([[0, 2], [0.25, 2.25], [0.5, 2.5]]),
        "x.clip_samples_16k": np.array([[0, 32_000], [4_000, 36_000], [8_000, 40_000]]),
        "x.fbank": reference_clips(sound, 22_050),
    }
    np.savez(tmp_path / "right.npz", config_json=json.dumps({"cases": ["x"]}), **arrays)
    completed = check_golden("--fbank", tmp_path / "right.npz")
    assert completed.returncode == 0, completed.stdout + completed.stderr
    arrays["x.fbank"] = arrays["x.fbank"] + np.float32(2e-5)
    np.savez(tmp_path / "wrong.npz", config_json=json.dumps({"cases": ["x"]}), **arrays)
    assert check_golden("--fbank", tmp_path / "wrong.npz").returncode == 1


def test_check_golden_without_files_is_a_usage_error():
    assert check_golden().returncode == 2
