from grouppose.inference import doctor
from grouppose.inference.cli import main


def test_doctor_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_requirements", lambda: {"scipy": ">=999", "nonsense": ">=1"})
    assert main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "scipy" in printed and "is too old; pip install 'scipy>=999'" in printed
    assert "nonsense is missing; pip install 'nonsense>=1'" in printed
    assert "deformable attention on cpu" in printed


def test_versions_by_their_numbers():
    for version, asked, older in (
        ("1.9.0", ">=1.10", True),
        ("1.10.1", ">=1.10", False),
        ("2.4.0+cu121", ">=2.4", False),
        ("0.9", "", False),
    ):
        assert doctor._older(version, asked) is older
    assert doctor._version("a-package-nobody-has") is None


def test_slow_attention_is_a_problem(monkeypatch):
    chosen = ("reference", "no kernel was built")
    monkeypatch.setattr(doctor.backends, "backend", lambda *given: chosen)
    monkeypatch.setattr(doctor.torch.cuda, "is_available", lambda: False)
    lines, problems = doctor.examine()
    assert "deformable attention on cpu: reference (no kernel was built)" in lines
    assert "deformable attention is slow on cpu: no kernel was built" in problems
