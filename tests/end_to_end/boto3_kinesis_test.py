"""boto3 and the AWS CLI, unmodified, against the embedded Kinesis.

Usage: boto3_kinesis_test.py PATH_TO_MILLRACE, run with the Python of `peers.sh python`.
"""

import os
import subprocess
import sys
import tempfile
import time
import unittest

import json

import boto3
import botocore.exceptions
from botocore.config import Config

MILLRACE = None


def start(folder):
    process = subprocess.Popen(
        [MILLRACE, "--json", "emulate", "--listen", "127.0.0.1:0", "--region", "eu-west-1", "--state", folder],
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, json.loads(process.stdout.readline())["url"]


def client_of(url, secret="millrace-local-secret", key="millrace"):
    return boto3.client(
        "kinesis",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


class Boto3Kinesis(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.process, self.url = start(self.folder.name)
        self.kinesis = client_of(self.url)

    def tearDown(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()

    def create(self, name, shards):
        self.kinesis.create_stream(StreamName=name, ShardCount=shards)
        self.kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})

    def read(self, shard, **position):
        position = position or {"ShardIteratorType": "TRIM_HORIZON"}
        iterator = self.kinesis.get_shard_iterator(StreamName="s", ShardId=shard, **position)["ShardIterator"]
        records = []
        while iterator:
            answer = self.kinesis.get_records(ShardIterator=iterator)
            records += answer["Records"]
            iterator = answer.get("NextShardIterator")
            if answer["MillisBehindLatest"] == 0:
                return records, answer
        return records, answer

    def code_of(self, call, **arguments):
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            call(**arguments)
        return caught.exception.response["Error"]["Code"]

    def test_records_come_back_byte_for_byte_in_order_per_shard(self):
        self.create("s", 2)
        sent = {}
        for i in range(10):
            entries = [
                {"Data": bytes([0, 255, i]) + str(r).encode(), "PartitionKey": f"ü{i}-{r}"} for r in range(50)
            ]
            answer = self.kinesis.put_records(StreamName="s", Records=entries)
            self.assertEqual(answer["FailedRecordCount"], 0)
            for entry, result in zip(entries, answer["Records"]):
                sent.setdefault(result["ShardId"], []).append(
                    (result["SequenceNumber"], entry["PartitionKey"], entry["Data"])
                )
        self.assertEqual(len(sent), 2)
        for shard, expected in sent.items():
            got, _ = self.read(shard)
            self.assertEqual([(r["SequenceNumber"], r["PartitionKey"], r["Data"]) for r in got], expected)
            age = time.time() - got[0]["ApproximateArrivalTimestamp"].timestamp()
            self.assertTrue(-1 < age < 60, age)

    def test_resharding_tells_lineage_and_children(self):
        self.create("s", 1)
        first = self.kinesis.put_record(StreamName="s", Data=b"1", PartitionKey="k")
        self.kinesis.split_shard(
            StreamName="s", ShardToSplit=first["ShardId"], NewStartingHashKey=str(2**127)
        )
        records, end = self.read(first["ShardId"])
        self.assertEqual([r["Data"] for r in records], [b"1"])
        self.assertNotIn("NextShardIterator", end)
        self.assertEqual(len(end["ChildShards"]), 2)
        self.assertEqual(end["ChildShards"][0]["ParentShards"], [first["ShardId"]])
        shards = self.kinesis.list_shards(StreamName="s")["Shards"]
        self.assertEqual(len(shards), 3)
        self.assertIn("EndingSequenceNumber", shards[0]["SequenceNumberRange"])
        self.kinesis.update_shard_count(StreamName="s", TargetShardCount=4, ScalingType="UNIFORM_SCALING")
        summary = self.kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]
        self.assertEqual(summary["OpenShardCount"], 4)

    def test_positions_survive_a_kill_of_the_server(self):
        self.create("s", 1)
        numbers = [
            self.kinesis.put_record(StreamName="s", Data=str(i).encode(), PartitionKey="k")["SequenceNumber"]
            for i in range(5)
        ]
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process, self.url = start(self.folder.name)
        self.kinesis = client_of(self.url)
        records, _ = self.read(
            "shardId-000000000000",
            ShardIteratorType="AFTER_SEQUENCE_NUMBER",
            StartingSequenceNumber=numbers[2],
        )
        self.assertEqual([r["Data"] for r in records], [b"3", b"4"])

    def test_pages_and_arns(self):
        self.create("s", 7)
        pages = self.kinesis.get_paginator("list_shards").paginate(
            StreamName="s", PaginationConfig={"PageSize": 3}
        )
        self.assertEqual(sum(len(page["Shards"]) for page in pages), 7)
        arn = self.kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
        self.assertEqual(self.kinesis.describe_stream(StreamARN=arn)["StreamDescription"]["StreamName"], "s")
        self.assertEqual(self.kinesis.list_streams()["StreamNames"], ["s"])

    def test_refusals_have_the_services_codes(self):
        self.create("s", 1)
        self.assertEqual(
            self.code_of(self.kinesis.create_stream, StreamName="s", ShardCount=1), "ResourceInUseException"
        )
        self.assertEqual(
            self.code_of(self.kinesis.get_records, ShardIterator="AAAA"), "InvalidArgumentException"
        )
        self.assertEqual(
            self.code_of(self.kinesis.list_shards, StreamName="nobody"), "ResourceNotFoundException"
        )
        self.assertEqual(
            self.code_of(client_of(self.url, secret="wrong").list_streams), "InvalidSignatureException"
        )
        self.assertEqual(
            self.code_of(client_of(self.url, key="AKIDSTRANGER").list_streams), "UnrecognizedClientException"
        )

    def test_the_aws_cli_puts_and_reads(self):
        self.create("s", 1)
        aws = os.path.join(os.path.dirname(sys.executable), "aws")
        environment = dict(
            os.environ,
            AWS_ACCESS_KEY_ID="millrace",
            AWS_SECRET_ACCESS_KEY="millrace-local-secret",
            AWS_DEFAULT_REGION="eu-west-1",
            AWS_ENDPOINT_URL=self.url,
        )
        subprocess.run(
            [aws, "kinesis", "put-record", "--stream-name", "s", "--partition-key", "k", "--data", "aGVsbG8="],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        records, _ = self.read("shardId-000000000000")
        self.assertIn(records[0]["Data"], (b"hello", b"aGVsbG8="))


if __name__ == "__main__":
    MILLRACE = os.path.abspath(sys.argv.pop(1))
    unittest.main()
