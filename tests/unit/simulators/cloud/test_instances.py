async def test_created_instance_runs(autojump_clock, cloud):
    created = await cloud.item(
        "POST", "/instances", {"name": "web", "image": "team/web:1.4", "autostart": True}
    )
    assert created["status"] == "success"
    assert created["state"] == "starting"
    assert "private_ip" not in created
    read = await cloud.wait(created["uuid"], "running")
    assert read["image"].startswith("team/web@sha256:")
    assert read["private_fqdn"] == "web.internal"
    assert read["start_count"] == 1
    assert "restart_count" not in read
    assert "stopped_at" not in read
    assert read["boot_time_us"] == 50_000
