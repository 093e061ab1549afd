from grouppose.inference.cli import main


def test_published_checkpoints_are_listed_with_their_places(capsys):
    assert main(["weights"]) == 0
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines()]
    assert ["resnet50", "COCO", "val2017", "AP", "72.0", "Apache-2.0"] in lines
    assert ["swin_L_384_22k", "CrowdPose", "test", "AP", "74.1", "Apache-2.0"] in lines
    assert "https://github.com/Michel-liu/GroupPose" in printed
    assert "grouppose predict photos/ --weights FILE" in printed


def test_a_family_without_published_checkpoints_is_listed(other, capsys):
    assert main(["weights"]) == 0
    assert "Other (other): none are known" in capsys.readouterr().out
