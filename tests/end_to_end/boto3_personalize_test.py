#!/usr/bin/env python3
"""Unmodified boto3 through the whole Personalize loop of the emulator.

    boto3_personalize_test.py PATH_TO_MILLRACE

Starts `millrace emulate` in a folder of its own, with a small time scale. Exits 0 when everything
holds.
"""
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = None  # of the emulator that main() starts
ROLE = "arn:aws:iam::123456789012:role/PersonalizeRole"
SCHEMA = {
    "type": "record",
    "name": "Interactions",
    "namespace": "com.amazonaws.personalize.schema",
    "fields": [
        {"name": "USER_ID", "type": "string"},
        {"name": "ITEM_ID", "type": "string"},
        {"name": "TIMESTAMP", "type": "long"},
        {"name": "EVENT_TYPE", "type": "string"},
    ],
    "version": "1.0",
}


def client(name):
    return boto3.client(
        name,
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        aws_access_key_id="millrace",
        aws_secret_access_key="millrace-local-secret",
        config=Config(retries={"max_attempts": 1}),
    )


def wait_for(describe, member, what, seconds=60, **arguments):
    """Polls as every tutorial does; gives the description of the ACTIVE resource."""
    deadline = time.monotonic() + seconds
    seen = []
    while time.monotonic() < deadline:
        described = describe(**arguments)[member]
        if not seen or seen[-1] != described["status"]:
            seen.append(described["status"])
        if described["status"] == "ACTIVE":
            return described
        assert "FAILED" not in described["status"], (what, described.get("failureReason"))
        time.sleep(0.02)
    raise AssertionError(f"{what} was not ACTIVE after {seconds} s: {seen}")


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return
    raise AssertionError(f"{call.__name__} was not refused with {code}")


def write_interactions(path):
    """Two camps of users and items that never meet."""
    chance = random.Random(1)
    with open(path, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE"])
        for user in range(60):
            for step in range(25):
                item = chance.randrange(50) * 2 + user % 2
                rows.writerow([f"u{user}", f"i{item}", 1_700_000_000 + step, "view"])


def even(item):
    return int(item[1:]) % 2 == 0


def main():
    personalize, events, runtime = (
        client("personalize"), client("personalize-events"), client("personalize-runtime"))
    folder = tempfile.mkdtemp(prefix="boto3-personalize-")
    write_interactions(os.path.join(folder, "interactions.csv"))

    schema = personalize.create_schema(name="shop", schema=json.dumps(SCHEMA))["schemaArn"]
    assert json.loads(personalize.describe_schema(schemaArn=schema)["schema"]["schema"]) == SCHEMA
    refused("ResourceAlreadyExistsException", personalize.create_schema,
            name="shop", schema=json.dumps(SCHEMA))
    group = personalize.create_dataset_group(
        name="shop", tags=[{"tagKey": "team", "tagValue": "ml"}])["datasetGroupArn"]
    wait_for(personalize.describe_dataset_group, "datasetGroup", "group", datasetGroupArn=group)
    assert personalize.list_tags_for_resource(resourceArn=group)["tags"] == [
        {"tagKey": "team", "tagValue": "ml"}]
    dataset = personalize.create_dataset(
        name="shop", schemaArn=schema, datasetGroupArn=group, datasetType="Interactions"
    )["datasetArn"]
    assert dataset.endswith(":dataset/shop/INTERACTIONS"), dataset
    wait_for(personalize.describe_dataset, "dataset", "dataset", datasetArn=dataset)
    tracker = personalize.create_event_tracker(name="shop", datasetGroupArn=group)
    wait_for(personalize.describe_event_tracker, "eventTracker", "tracker",
             eventTrackerArn=tracker["eventTrackerArn"])
    refused("ResourceAlreadyExistsException", personalize.create_event_tracker,
            name="second", datasetGroupArn=group)

    job = personalize.create_dataset_import_job(
        jobName="first", datasetArn=dataset, roleArn=ROLE,
        dataSource={"dataLocation": f"file://{folder}/interactions.csv"})["datasetImportJobArn"]
    described = wait_for(personalize.describe_dataset_import_job, "datasetImportJob", "import",
                         datasetImportJobArn=job)
    assert described["importMode"] == "FULL"
    assert described["lastUpdatedDateTime"] >= described["creationDateTime"]
    pages = personalize.get_paginator("list_dataset_import_jobs").paginate(datasetArn=dataset)
    assert [one["jobName"] for page in pages for one in page["datasetImportJobs"]] == ["first"]

    solution = personalize.create_solution(
        name="taste", datasetGroupArn=group, performAutoTraining=False,
        recipeArn="arn:aws:personalize:::recipe/aws-user-personalization-v2")["solutionArn"]
    wait_for(personalize.describe_solution, "solution", "solution", solutionArn=solution)
    version = personalize.create_solution_version(solutionArn=solution)["solutionVersionArn"]
    described = wait_for(personalize.describe_solution_version, "solutionVersion", "version",
                         solutionVersionArn=version)
    assert described["trainingHours"] > 0 and described["trainingMode"] == "FULL", described
    metrics = personalize.get_solution_metrics(solutionVersionArn=version)["metrics"]
    assert 0 < metrics["precision_at_25"] <= 1 and 0 < metrics["coverage"] <= 1, metrics

    campaign = personalize.create_campaign(name="live", solutionVersionArn=version)["campaignArn"]
    wait_for(personalize.describe_campaign, "campaign", "campaign", campaignArn=campaign)

    def recommended(user):
        reply = runtime.get_recommendations(campaignArn=campaign, userId=user, numResults=10)
        assert len(reply["recommendationId"]) == 40
        assert all(item["score"] >= 0 for item in reply["itemList"])
        return [item["itemId"] for item in reply["itemList"]]

    assert all(even(item) for item in recommended("u4")), recommended("u4")
    before = recommended("newcomer")
    for step, item in enumerate(["i1", "i3", "i5"]):
        events.put_events(
            trackingId=tracker["trackingId"], userId="newcomer", sessionId="s",
            eventList=[{"eventType": "view", "itemId": item, "sentAt": time.time(),
                        "eventId": f"e{step}", "properties": json.dumps({"shelf": "top"})}])
    after = recommended("newcomer")
    assert before != after and not any(even(item) for item in after), (before, after)
    refused("InvalidInputException", events.put_events, trackingId="none", sessionId="s",
            eventList=[{"eventType": "view", "sentAt": 1}])
    refused("ResourceNotFoundException", runtime.get_recommendations,
            campaignArn=campaign + "x", userId="u1")

    with open(os.path.join(folder, "users.json"), "w") as file:
        for user in ["u1", "u2", "newcomer"]:
            file.write(json.dumps({"userId": user}) + "\n")
    batch = personalize.create_batch_inference_job(
        jobName="night", solutionVersionArn=version, roleArn=ROLE, numResults=10,
        jobInput={"s3DataSource": {"path": f"file://{folder}/users.json"}},
        jobOutput={"s3DataDestination": {"path": f"file://{folder}/out/"}},
    )["batchInferenceJobArn"]
    wait_for(personalize.describe_batch_inference_job, "batchInferenceJob", "batch",
             batchInferenceJobArn=batch)
    with open(os.path.join(folder, "out", "users.json.out")) as file:
        lines = {line["input"]["userId"]: line for line in map(json.loads, file)}
    assert lines["newcomer"]["output"]["recommendedItems"] == after
    assert lines["u2"]["error"] is None and len(lines["u2"]["output"]["scores"]) == 10
    assert os.path.exists(os.path.join(folder, "out", "_CHECK"))

    retrained = personalize.create_solution_version(solutionArn=solution, name="again")
    wait_for(personalize.describe_solution_version, "solutionVersion", "second version",
             solutionVersionArn=retrained["solutionVersionArn"])
    personalize.update_campaign(campaignArn=campaign,
                                solutionVersionArn=retrained["solutionVersionArn"])
    deadline = time.monotonic() + 60
    while True:
        described = personalize.describe_campaign(campaignArn=campaign)["campaign"]
        if described["latestCampaignUpdate"]["status"] == "ACTIVE":
            break
        assert described["status"] == "ACTIVE" and time.monotonic() < deadline, described
        time.sleep(0.02)
    assert described["solutionVersionArn"] == retrained["solutionVersionArn"]
    assert not any(even(item) for item in recommended("newcomer")), "now from the training"

    refused("ResourceInUseException", personalize.delete_solution, solutionArn=solution)
    personalize.delete_campaign(campaignArn=campaign)
    refused("ResourceInUseException", personalize.delete_dataset_group, datasetGroupArn=group)
    refused("ResourceNotFoundException", personalize.describe_campaign, campaignArn=campaign + "x")
    print("boto3", boto3.__version__, "went through the whole loop")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as state:
        emulator = subprocess.Popen(
            [sys.argv[1], "--json", "emulate", "--listen", "127.0.0.1:0", "--time-scale", "0.0005", "--state", state],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            ENDPOINT = json.loads(emulator.stdout.readline())["url"]
            main()
        finally:
            emulator.terminate()
            ended = emulator.wait(timeout=30)
        assert ended == 0, f"millrace emulate ended with {ended} after SIGTERM"
