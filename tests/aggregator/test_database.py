"""The database is made once, whoever comes first."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from aggregator.database import open_database


def test_processes_that_open_a_new_database_at_once_all_find_its_tables(tmp_path):
    for attempt in range(10):
        together = Barrier(4)

        def opened(path, together=together):
            together.wait(10.0)
            engine = open_database(path)
            with engine.connect() as connection:
                version = connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'schema'").scalar_one()
            engine.dispose()
            return version

        with ThreadPoolExecutor(4) as pool:
            assert len({*pool.map(opened, [tmp_path / f"{attempt}.db"] * 4)}) == 1
