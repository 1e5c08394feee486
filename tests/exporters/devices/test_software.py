"""Versions, read off files."""

import pytest

from exporters.devices.software import (
    cuda_version,
    driver_version,
    jetpack_of,
    l4t_version,
    tensorrt_version,
)
from exporters.devices.tree import Tree


@pytest.mark.parametrize(
    ("name", "l4t", "jetpack", "tensorrt", "cuda"),
    [
        ("orin-nano", "36.4.3", "6.2", "10.3.0", "12.6.11"),
        ("agx-orin", "36.4.0", "6.1", None, None),
        ("xavier-nx", "35.4.1", "5.1.2", "8.5.2", None),
        ("thor", "38.2.2", "7.0", "10.13.3", "13.0.0"),
    ],
)
def test_versions_of_every_jetson(board, name, l4t, jetpack, tensorrt, cuda):
    tree = Tree(board(name))
    assert l4t_version(tree) == l4t
    assert jetpack_of(tree, l4t) == jetpack
    assert tensorrt_version(tree) == tensorrt
    assert cuda_version(tree) == cuda


def test_the_installed_package_has_the_last_word_on_jetpack(board):
    other = {"var/lib/dpkg/status": "Package: nvidia-jetpack\nStatus: install ok installed\n"
                                    "Version: 6.2.1+b38\n"}  # fmt: skip
    assert jetpack_of(Tree(board("orin-nano", other)), "36.4.3") == "6.2.1"


def test_a_removed_package_does_not_count(board):
    status = "Package: tensorrt\nStatus: deinstall ok config-files\nVersion: 8.6.2-1\n"
    assert tensorrt_version(Tree(board("agx-orin", {"var/lib/dpkg/status": status}))) is None


def test_a_release_that_the_table_lacks_is_said(tmp_path):
    tree = Tree(tmp_path)
    assert jetpack_of(tree, "41.0.0") is None
    assert "41.0.0 is not in the table" in tree.unknown[0]


def test_l4t_is_found_by_its_package_where_the_file_is_gone(board):
    tree = Tree(board("xavier-nx", {"etc/nv_tegra_release": None}))
    assert l4t_version(tree) == "35.4.1"


def test_neither_file_nor_package_is_said(tmp_path):
    tree = Tree(tmp_path)
    assert l4t_version(tree) is None
    assert tree.unknown[0].startswith("L4T: ")


def test_cuda_is_found_by_its_package_where_the_file_is_gone_or_damaged(board):
    gone = {"usr/local/cuda/version.json": None}
    assert cuda_version(Tree(board("orin-nano", gone))) == "12.6.68"
    tree = Tree(board("orin-nano", {"usr/local/cuda/version.json": "{"}))
    assert cuda_version(tree) == "12.6.68"
    assert "damaged" in tree.unknown[0]


def test_the_driver_of_a_pc(board):
    assert driver_version(Tree(board("pc"))) == "580.65.06"
    assert driver_version(Tree(board("raspberry-pi-5"))) is None


def test_the_driver_that_is_not_open(tmp_path, board):
    said = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 2024\n"
    assert driver_version(Tree(board("pc", {"proc/driver/nvidia/version": said}))) == "535.183.01"
