import TestSupport
import Testing

@Suite("Apps in real containers", .serialized)
struct RunningAppTests {
    @Test("podman pulls and runs a web app, on another rootfs, and on the first again, and a worker")
    func podman() async throws {
        try await check(Podman.init)
    }

    @Test("containerd, through a hosts directory with our authority, pulls and runs the same")
    func containerd() async throws {
        try await check(Containerd.init)
    }

    @Test("dockerd pulls and runs the same")
    func docker() async throws {
        try await check(Docker.init)
    }

    private func check(_ make: (RegistryAccess, String) async throws -> some ContainerClient) async throws {
        try await withServer { server in
            try await server.importTinyRootfs(version: "7")
            let web = try await server.upload(Fixtures.sample("shell"), guid: "web")
            let worker = try await server.upload(Fixtures.sample("worker"), guid: "worker")
            try await withClient(make, server.access()) { client in
                try await client.pull(web.image)
                try await checkWebApp(web.image, client, rootfs: "7")
                try await server.importTinyRootfs(version: "8")
                try await client.pull(web.image)
                try await checkWebApp(web.image, client, rootfs: "8")
                try await server.cisternSuccessfully(["rootfs", "rollback", "--stack", "tiny"])
                try await client.pull(web.image)
                try await checkWebApp(web.image, client, rootfs: "7")
                try await client.pull(worker.image)
                try await checkWorker(worker.image, client)
            }
        }
    }

    /// The app sees the environment that the old launchers made.
    private func checkWebApp(_ image: String, _ client: some ContainerClient, rootfs: String) async throws {
        let port = try freePort()
        try await client.start("web", of: image, environment: ["PORT": "\(port)"], arguments: [])
        let page = try await waitFor("the app's page") { () -> String? in
            let answer = try await run("curl", ["--silent", "--fail", "http://127.0.0.1:\(port)/cgi-bin/facts"])
            return answer.status == 0 ? answer.output : nil
        }
        let facts = Dictionary(
            page.split(separator: "\n").map { line in
                let words = line.split(separator: " ", maxSplits: 1).map(String.init)
                return (words[0], words.count > 1 ? words[1] : "")
            }, uniquingKeysWith: { _, last in last })
        #expect(facts["user"] == "2000:2000")
        #expect(facts["home"] == "/home/vcap/app")
        #expect(facts["rootfs"] == rootfs)
        #expect(facts["deps"] == "/home/vcap/deps")
        #expect(facts["tmpdir"] == "/home/vcap/tmp")
        #expect(facts["profile"] == "yes", "profile.d was sourced")
        #expect(facts["app-profile"] == "yes", ".profile.d was sourced")
        #expect(facts["init"]?.contains("/lifecycle/launch") == true)
        // What people start to look into a container.
        let look = ["/lifecycle/shell", "/home/vcap/app", "echo $HOME $DEPS_DIR $PORT $(id -u)"]
        #expect(
            try await client.execute(look, in: "web") == "/home/vcap/app /home/vcap/deps \(port) 2000",
            "what exec starts")
        _ = try await client.stop("web")
    }

    /// TERM reaches the app behind the shell, and its exit status comes out.
    private func checkWorker(_ image: String, _ client: some ContainerClient) async throws {
        try await client.start("worker", of: image, environment: [:], arguments: [])
        try await waitUntil("the worker's first line") {
            try await client.output(of: "worker").contains("worker: started")
        }
        #expect(try await client.stop("worker") == 0, "the worker ended by itself, not by SIGKILL")
    }
}
