"""Data behind http:// and s3://, on servers of this machine, and packed ones: read as those in a folder, damage included."""

import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import xarray as xr
import zarr

import gnvpro
from gnvpro.apps.cli import app
from gnvpro.apps.info import info
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.storage import elsewhere
from gnvpro.pde_data.storage.dataset import describe, open_dataset, read_samples
from gnvpro.pde_data.storage.netcdf import write_netcdf
from gnvpro.pde_data.storage.rows import DataSetRows
from gnvpro.pde_data.storage.tables import read_parameters
from gnvpro.surrogate.errors import UsageError
from tests.pde_data.storage.test_integrity import flip_a_bit
from tests.pde_data.toy import Fragile, OnBackground

fsspec = pytest.importorskip("fsspec")


class Server(ThreadingHTTPServer):
    request_queue_size = 512  # files are asked for at once; one that finds the queue full asks again a second later


class NoListing(SimpleHTTPRequestHandler):
    """Files of a folder, and no list of them; `/private/` is for nobody."""

    def list_directory(self, path):
        self.send_error(404)

    def do_GET(self):
        if self.path.startswith("/private/"):
            self.send_error(403)
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    generate(OnBackground(), folder / "cdr.zarr", 42, 5)
    packed_by_zarr(folder / "cdr.zarr", folder / "cdr.zarr.zip")
    write_netcdf(folder / "cdr.zarr", folder / "cdr.nc")
    samples = read_samples(folder / "cdr.zarr")
    np.savez(folder / "cdr.npz", parameters=samples.parameters, observables=samples.observables)
    (folder / "y.csv").write_text("rate,amplitude\n0.5,1.25\n")
    return folder


@pytest.fixture(scope="module")
def url(folder):
    server = Server(("127.0.0.1", 0), partial(NoListing, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def bucket(folder):
    """`s3://bucket` of a server on this machine, with what is in the folder."""
    server_of_moto = pytest.importorskip("moto.server").ThreadedMotoServer
    server = server_of_moto(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "testing")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        server.start()
        host, port = server.get_host_and_port()
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        files.mkdir("bucket")
        files.put(str(folder), "bucket/", recursive=True)
        files.put(f"{folder}/", "bucket/", recursive=True)
        files.chmod("bucket/cdr.nc", "public-read")
        yield "s3://bucket"
        server.stop()


def packed_by_zarr(folder, file):
    with zarr.storage.ZipStore(file, mode="w") as store:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                buffer = zarr.core.buffer.default_buffer_prototype().buffer.from_bytes(path.read_bytes())
                zarr.core.sync.sync(store.set(str(path.relative_to(folder)), buffer))


def packed_by_zip(folder, file):
    """As `zip -0 -r` does it: the folder is inside."""
    with ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))


def assert_same(one, other):
    for name in ("parameters", "observables", "background"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.parameter_space, one.observable_space, one.n_failed) == (
        other.parameter_space,
        other.observable_space,
        other.n_failed,
    )


@pytest.mark.parametrize("as_path", [False, True])
@pytest.mark.parametrize("name", ["cdr.zarr", "cdr.zarr.zip", "cdr.nc"])
@pytest.mark.parametrize("server", ["url", "bucket"])
def test_samples_behind_an_address_are_those_of_the_folder(folder, name, server, as_path, request):
    address = f"{request.getfixturevalue(server)}/{name}"
    samples = read_samples(Path(address) if as_path else address)
    assert_same(samples, read_samples(folder / "cdr.zarr"))
    assert samples.provenance["file"] == name


def test_a_part_is_read_in_place_by_xarray(folder, bucket):
    part = read_samples(xr.open_zarr(f"{bucket}/cdr.zarr").isel(sample=slice(8, 24)))
    whole = read_samples(folder / "cdr.zarr", allow_partial=True)
    solved = xr.open_zarr(folder / "cdr.zarr").status.values == 0
    np.testing.assert_array_equal(part.observables, whole.observables[solved[:8].sum() : solved[:24].sum()])


@pytest.mark.parametrize("settings", ["{}", '{"anon": true}'])
def test_credentials_are_those_of_the_environment(folder, bucket, settings, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_A", "AWS_S"))}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path), "FSSPEC_S3": settings}
    code = (
        "from gnvpro.pde_data.storage.dataset import read_samples\n"
        f"try: print(len(read_samples('{bucket}/cdr.nc')))\n"
        "except OSError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    if settings == "{}":
        assert "s3://bucket/cdr.nc cannot be read: Unable to locate credentials; check the address" in ran.stdout
    else:
        assert ran.stdout == f"{len(read_samples(folder / 'cdr.zarr'))}\n"


def test_arrays_and_tables_behind_an_address_are_read(folder, url):
    one, other = read_samples(f"{url}/cdr.npz"), read_samples(folder / "cdr.npz")
    np.testing.assert_array_equal(one.observables, other.observables)
    assert one.provenance == other.provenance
    assert read_parameters(f"{url}/y.csv", names=("amplitude", "rate")).tolist() == [[1.25, 0.5]]
    np.testing.assert_array_equal(read_parameters(f"{url}/cdr.zarr"), read_parameters(folder / "cdr.zarr"))
    assert len(read_samples(f"{url}/y.csv?signature=abc", parameters=["rate"])) == 1


@pytest.mark.parametrize("name", ["cdr.zarr", "cdr.zarr.zip", "cdr.nc"])
def test_info_says_the_same_and_shows_no_secret(folder, url, name):
    about = describe(f"{url.replace('://', '://me:word@')}/{name}{'?sig=abc' if name[-4:] != 'zarr' else ''}")
    assert about["path"] == f"{url}/{name}"
    there = describe(folder / name)
    sizes = [content.pop("size_bytes") for content in (about, there)]
    assert sizes[0] > 1000
    assert {**about, "path": ""} == {**there, "path": ""}
    assert f"Data set {url}/{name}" in str(info(f"{url}/{name}"))


def test_a_lazy_dataset_stays_readable(folder, url):
    data = open_dataset(f"{url}/cdr.zarr")
    np.testing.assert_array_equal(
        data.observables[3:5].values, xr.open_zarr(folder / "cdr.zarr").observables[3:5].values
    )


def test_parts_are_read_of_a_packed_one(folder):
    rows = DataSetRows(folder / "cdr.zarr.zip")
    np.testing.assert_array_equal(
        rows.read(np.arange(3)).observables, read_samples(folder / "cdr.zarr").observables[:3]
    )


@pytest.mark.parametrize("pack", [packed_by_zarr, packed_by_zip])
def test_a_zip_is_read_with_and_without_a_folder_inside(folder, tmp_path, pack):
    pack(folder / "cdr.zarr", tmp_path / "packed.zarr.zip")
    assert_same(read_samples(tmp_path / "packed.zarr.zip"), read_samples(folder / "cdr.zarr"))
    assert describe(tmp_path / "packed.zarr.zip")["path"] == str(tmp_path / "packed.zarr.zip")


@pytest.mark.skipif(shutil.which("zip") is None, reason="zip is not installed")
@pytest.mark.parametrize("inside", [True, False])
def test_a_zip_of_the_program_zip_is_read(folder, tmp_path, inside):
    where, what = (folder, "cdr.zarr") if inside else (folder / "cdr.zarr", ".")
    subprocess.run(["zip", "-0", "-q", "-r", tmp_path / "d.zarr.zip", what], cwd=where, check=True)
    assert_same(read_samples(tmp_path / "d.zarr.zip"), read_samples(folder / "cdr.zarr"))


def test_damage_is_noticed_from_afar(folder, url, tmp_path):
    shutil.copytree(folder / "cdr.zarr", folder / "torn.zarr")
    flip_a_bit(folder / "torn.zarr" / "observables" / "c" / "3" / "0" / "0")
    (folder / "torn.zarr" / "parameters" / "c" / "2" / "0").unlink()
    assert [d["reason"] for d in describe(f"{url}/torn.zarr")["damaged"]] == ["fails its checksum", "is gone"]
    with pytest.raises(UsageError, match=rf"{url}/torn.zarr is damaged: observables of samples 12 to 15"):
        read_samples(f"{url}/torn.zarr")
    packed_by_zip(folder / "torn.zarr", tmp_path / "torn.zarr.zip")
    with pytest.raises(UsageError, match=r"torn.zarr.zip is damaged: observables of samples 12 to 15"):
        read_samples(tmp_path / "torn.zarr.zip")


def test_copies_are_removed(url, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(elsewhere.tempfile, "tempdir", str(tmp_path))
    read_samples(f"{url}/cdr.zarr")
    describe(folder / "cdr.zarr.zip")
    with pytest.raises(FileNotFoundError):
        read_samples(f"{url}/none.zarr")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_of_somebody_else_needs_consolidated_metadata(folder, url, version):
    rng = np.random.default_rng(0)
    data = xr.Dataset({name: (("sample", name[0]), rng.normal(size=(12, 2))) for name in ("parameters", "observables")})
    encoding = {name: {"chunks": (5, 2)} for name in data}
    for name, consolidated in ((f"with-{version}.zarr", True), (f"without-{version}.zarr", False)):
        data.to_zarr(folder / name, zarr_format=version, consolidated=consolidated, encoding=encoding)
    np.testing.assert_array_equal(read_samples(f"{url}/with-{version}.zarr").observables, data.observables)
    with pytest.raises(UsageError, match="expected consolidated metadata, .*zarr.consolidate_metadata"):
        read_samples(f"{url}/without-{version}.zarr")


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("/none.zarr", FileNotFoundError, "no data set at .*/none.zarr: expected a zarr folder or a file"),
        ("/none.nc", FileNotFoundError, "no data at .*/none.nc; check the address"),
        (
            "/private/d.zarr",
            OSError,
            "/private/d.zarr cannot be read: 403.*check the address, the network and your rights",
        ),
        ("/private/d.nc", OSError, "/private/d.nc cannot be read: 403"),
    ],
)
def test_addresses_where_nothing_is_to_be_had_are_said(url, path, error, message):
    with pytest.raises(error, match=message):
        read_samples(f"{url.replace('://', '://me:word@')}{path}?sig=abc" if path.endswith("nc") else f"{url}{path}")


def test_a_server_that_is_not_there_is_said():
    with pytest.raises(
        OSError, match=r"http://127\.0\.0\.1:9/d\.zarr cannot be read: .*check the address, the network"
    ):
        read_samples("http://127.0.0.1:9/d.zarr")


def test_an_address_of_an_unknown_kind_is_said():
    with pytest.raises(UsageError, match="expected an address such as https:// or s3://, got gopher://"):
        read_samples("gopher://host/d.zarr")


@pytest.mark.parametrize(
    ("module", "address", "lacking"),
    [
        ("fsspec", "https://host/d.zarr", "fsspec"),
        ("s3fs", "s3://bucket/d.zarr", "s3fs"),
        ("aiohttp", "https://h/d.nc", "aiohttp"),
    ],
)
def test_the_extra_that_is_missing_is_named(module, address, lacking):
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from gnvpro.pde_data.storage.dataset import read_samples\n"
        "from gnvpro.surrogate.extras import MissingLibrary\n"
        f"try: read_samples({address!r})\n"
        "except MissingLibrary as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    scheme = address.split(":")[0]
    assert said == f'{lacking} is not installed (it reads {scheme}://); pip install "gnvpro[remote]"\n'


@pytest.mark.parametrize("out", ["s3://bucket/d.zarr", "https://host/d.zarr", Path("s3://bucket/d.zarr")])
def test_data_sets_are_written_on_this_machine(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UsageError, match=r"expected the folder of a data set on this machine, got (s3|https)://.*copy it"
    ):
        generate(Fragile(), out, 8)
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_is_not_generated_as_a_zip(tmp_path):
    with pytest.raises(
        UsageError, match=r"d\.zarr\.zip: a data set is a folder that grows; .* pack it when it is finished"
    ):
        generate(Fragile(), tmp_path / "d.zarr.zip", 8)


@pytest.mark.parametrize("name", ["../../outside", "a/b", "..", ""])
def test_names_in_the_metadata_of_strangers_lead_nowhere_else(folder, url, tmp_path, monkeypatch, name):
    """A store could name a variable so that its file lands anywhere."""
    place = folder / "crafted.zarr"
    shutil.copytree(folder / "cdr.zarr", place, dirs_exist_ok=True)
    root = json.loads((place / "zarr.json").read_text())
    copies = root["consolidated_metadata"]["metadata"]
    copies[name] = copies["parameters"]
    (place / "zarr.json").write_text(json.dumps(root))
    (folder / "outside").mkdir(exist_ok=True)
    (folder / "outside" / "zarr.json").write_text("{}")
    copies_in = tmp_path / "copies"
    copies_in.mkdir()
    monkeypatch.setattr(elsewhere.tempfile, "tempdir", str(copies_in))
    with pytest.raises(UsageError):
        read_samples(f"{url}/crafted.zarr")
    assert {path.name for path in tmp_path.iterdir()} == {"copies"}
    assert list(copies_in.iterdir()) == []


def test_a_variable_of_very_many_chunks_is_refused(folder, url):
    place = folder / "many.zarr"
    shutil.copytree(folder / "cdr.zarr", place)
    about = json.loads((place / "wall_time" / "zarr.json").read_text())
    about["shape"] = [10**15]
    (place / "wall_time" / "zarr.json").write_text(json.dumps(about))
    with pytest.raises(UsageError, match="wall_time has .* chunks"):
        read_samples(f"{url}/many.zarr")


def crafted(codec, field, folder):
    """A zarr folder whose coordinate would run a command if its codec were taken."""
    place = folder / "evil.zarr"
    data = xr.Dataset({name: (("sample", name[0]), np.ones((3, 2))) for name in ("parameters", "observables")})
    data["sample"] = np.arange(3.0)
    version = 3 if field == "codecs" else 2
    data.to_zarr(place, zarr_format=version, consolidated=False)
    file = place / "sample" / ("zarr.json" if version == 3 else ".zarray")
    about = json.loads(file.read_text())
    about[field] = codec
    file.write_text(json.dumps(about))

    class Command:
        def __reduce__(self):
            return os.mkdir, (str(folder / "ran"),)

    from numcodecs import Pickle

    chunk = place / "sample" / ("c/0" if version == 3 else "0")
    chunk.write_bytes(bytes(Pickle().encode(np.array([Command()] * 3, dtype=object))))
    return place


@pytest.mark.parametrize(
    ("codec", "field"),
    [
        ({"id": "pickle", "protocol": 5}, "compressor"),
        ([{"id": "pickle", "protocol": 5}], "filters"),
        ([{"id": "shuffle", "elementsize": 8}, {"id": "pickle", "protocol": 5}], "filters"),
        ([{"name": "numcodecs.pickle", "configuration": {"protocol": 5}}], "codecs"),
        ([{"name": "bytes"}, {"name": "pickle", "configuration": {}}], "codecs"),
    ],
)
def test_no_code_of_a_data_set_is_run(codec, field, tmp_path):
    place = crafted(codec, field, tmp_path)
    with pytest.raises(UsageError):
        read_samples(place)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        (lambda archive: archive.writestr("a/zarr.json", "{}") or archive.writestr("b/zarr.json", "{}"), "got 2"),
        (
            lambda archive: archive.writestr("readme", "nothing"),
            "expected one zarr folder in it, got 0; pack the data set alone",
        ),
    ],
)
def test_zips_of_something_else_are_said(tmp_path, pack, message):
    with ZipFile(tmp_path / "d.zip", "w") as archive:
        pack(archive)
    with pytest.raises(UsageError, match=message):
        read_samples(tmp_path / "d.zip")


def test_a_zip_cannot_write_beside_its_copy(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(elsewhere.tempfile, "tempdir", str(tmp_path / "copies"))
    (tmp_path / "copies").mkdir()
    packed_by_zip(folder / "cdr.zarr", tmp_path / "d.zip")
    with ZipFile(tmp_path / "d.zip", "a") as archive:
        archive.writestr("../../../outside", "x")
    read_samples(tmp_path / "d.zip")
    assert {path.name for path in tmp_path.iterdir()} == {"copies", "d.zip"}


def test_zips_that_are_torn_or_unfold_without_end_are_said(tmp_path):
    from zipfile import ZIP_DEFLATED

    (tmp_path / "torn.zip").write_bytes(b"PK\3\4 torn")
    with pytest.raises(UsageError, match="torn.zip cannot be read as a zip of a zarr folder"):
        read_samples(tmp_path / "torn.zip")
    with ZipFile(tmp_path / "bomb.zip", "w", ZIP_DEFLATED) as archive:
        for i in range(40):
            archive.writestr(f"d.zarr/{i}", bytes(2**22))
    file = tmp_path / "bomb.zip"
    content = file.read_bytes()
    with ZipFile(file) as archive:
        stored = [info.compress_size for info in archive.infolist()]
    assert sum(stored) * 900 < 40 * 2**22
    # A directory that promises more than deflate can hold.
    file.write_bytes(content.replace((2**22).to_bytes(4, "little"), (2**31 - 1).to_bytes(4, "little")))
    with pytest.raises(UsageError, match="bomb.zip cannot be read as a zip .*what is packed has .* bytes"):
        read_samples(file)


def test_commands_take_addresses_and_keep_no_secret(url, tmp_path, capsys):
    secret = url.replace("://", "://me:word@")
    assert app(["info", f"{secret}/cdr.nc?sig=abc", "--json"], standalone_mode=False) in (None, 0)
    about = json.loads(capsys.readouterr().out)
    assert (about["path"], about["n_samples"]) == (f"{url}/cdr.nc", 42)
    model, out = tmp_path / "model", tmp_path / "predictions.npz"
    app(["train", f"{secret}/cdr.zarr", "--out", str(model), "--widths", "4", "--budget", "20"], standalone_mode=False)
    app(["predict", str(model), "--parameters", f"{secret}/cdr.zarr.zip", "--out", str(out)], standalone_mode=False)
    assert len(np.load(out)["observables"]) == len(read_samples(f"{url}/cdr.zarr"))
    said = "".join(capsys.readouterr())
    assert f"Surrogate of {url}/cdr.zarr" in said
    kept = b"".join(file.read_bytes() for file in (*model.iterdir(), out))
    assert b"word" not in kept
    assert "word" not in said


def test_the_library_takes_addresses(url, folder, tmp_path):
    one = gnvpro.train(f"{url}/cdr.zarr", seed=0, out=tmp_path / "model").surrogate
    other = gnvpro.train(folder / "cdr.zarr", seed=0).surrogate
    for part in ("theta", "weights"):
        np.testing.assert_array_equal(getattr(one, part).numpy(), getattr(other, part).numpy())
    expected = gnvpro.predict(one, folder / "cdr.zarr").observables
    np.testing.assert_array_equal(gnvpro.predict(one, f"{url}/cdr.zarr.zip").observables, expected)


def test_a_signature_comes_after_the_name_of_every_file(folder, url):
    assert_same(read_samples(f"{url}/cdr.zarr?sig=S"), read_samples(folder / "cdr.zarr"))


def test_addresses_that_are_none_are_said():
    with pytest.raises(OSError, match=r"https://\[bad/x.nc cannot be read"):
        read_samples("https://[bad/x.nc")


def test_an_encrypted_zip_is_said(folder, tmp_path):
    content = bytearray((folder / "cdr.zarr.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "d.zarr.zip").write_bytes(content)
    with pytest.raises(UsageError, match="not encrypted, got one with a password; unpack it"):
        read_samples(tmp_path / "d.zarr.zip")
