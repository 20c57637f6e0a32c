import OCI
import TestSupport
import Testing

extension Rule {
    private static let section = "Pushing a blob in chunks"

    static let chunks: [Rule] = [
        Rule("end-5 PATCH", section, "a stream without Content-Range and length is taken, and again at its end") {
            repo in
            let bytes = makeNoise(900_000, seed: "stream")
            let digest = Digest.of(bytes).description
            let location = try await repo.begin()
            let first = try await repo.client.stream(
                "PATCH", location, as: repo.user, [:], [Array(bytes[..<1]), Array(bytes[1..<400_000])])
            #expect(first.status == 202 && first["Range"] == "0-399999", "\(first.text)")
            let second = try await repo.client.stream(
                "PATCH", try first.location(), as: repo.user, [:], [Array(bytes[400_000..<800_000])])
            #expect(second.status == 202 && second["Range"] == "0-799999")
            let last = try await repo.client.stream(
                "PUT", try second.location() + "?digest=\(digest)", as: repo.user, [:], [Array(bytes[800_000...])])
            try await repo.expectCreated(last, digest, bytes)
        },
        Rule("end-5 PATCH", section, "a stream of one request, finished by an empty PUT, as docker does it") { repo in
            let bytes = makeNoise(500_000, seed: "docker")
            let digest = Digest.of(bytes).description
            let answer = try await repo.client.stream("PATCH", try await repo.begin(), as: repo.user, [:], [bytes])
            #expect(answer.status == 202 && answer["Range"] == "0-499999")
            try await repo.expectCreated(try await repo.put(try answer.location(), digest), digest, bytes)
        },
        Rule("end-5 PATCH", section, "chunks in order give 202 with Location and Range, and the blob in the end") {
            repo in
            for algorithm in [DigestAlgorithm.sha256, .sha512] {
                let bytes = makeNoise(100_000, seed: "chunks \(algorithm)")
                let digest = Digest.of(bytes, algorithm).description
                var location = try await repo.begin(algorithm == .sha512 ? "?digest-algorithm=sha512" : "")
                for (start, end) in [(0, 1), (1, 50_000), (50_000, 90_000)] {
                    let answer = try await repo.patch(location, Array(bytes[start..<end]), at: start)
                    #expect(answer.status == 202 && answer["Range"] == "0-\(end - 1)", "\(answer.text)")
                    location = try answer.location()
                    try await repo.expectUpload(location, received: end)
                }
                let answer = try await repo.put(location, digest, Array(bytes[90_000...]), at: 90_000)
                try await repo.expectCreated(answer, digest, bytes)
            }
        },
        Rule("end-5 PATCH", section, "out of order is 416 with Range, and the upload goes on where it stood") { repo in
            let bytes = makeNoise(30_000, seed: "order")
            let digest = Digest.of(bytes).description
            let location = try await repo.begin()
            func refused(_ start: Int, _ end: Int, received: Int) async throws {
                let answer = try await repo.patch(location, Array(bytes[start..<end]), at: start)
                #expect(answer.status == 416, "\(start)-\(end): \(answer.text)")
                #expect(answer["Range"] == "0-\(max(0, received - 1))")
                #expect(answer.registryCode == "BLOB_UPLOAD_INVALID")
                try await repo.expectUpload(location, received: received)
            }
            try await refused(10_000, 20_000, received: 0)
            #expect(try await repo.patch(location, Array(bytes[..<10_000]), at: 0).status == 202)
            try await refused(0, 10_000, received: 10_000)
            try await refused(9_999, 20_000, received: 10_000)
            try await refused(10_001, 20_000, received: 10_000)
            let late = try await repo.put(location, digest, Array(bytes[20_000...]), at: 20_000)
            #expect(late.status == 416, "the last chunk has to fit too")
            try await repo.expectUpload(location, received: 10_000)
            #expect(try await repo.patch(location, Array(bytes[10_000..<20_000]), at: 10_000).status == 202)
            let answer = try await repo.put(location, digest, Array(bytes[20_000...]), at: 20_000)
            try await repo.expectCreated(answer, digest, bytes)
        },
        Rule("end-5 PATCH", section, "a 416 names the Location to go on with") { repo in
            let location = try await repo.begin()
            let answer = try await repo.patch(location, [1, 2], at: 5)
            #expect(answer.status == 416)
            #expect(answer["Location"] != nil)
        },
        Rule("end-5 PATCH", section, "a malformed Content-Range is refused, and the upload goes on") { repo in
            let bytes = makeNoise(100, seed: "range")
            let location = try await repo.begin()
            let ranges = [
                "bytes 0-99/100", "0", "0-", "-99", "99-0", "a-b", "0-99-5", "", "0 - 99", "-1-98", "0-0x63",
                "0-99999999999999999999", "1e2-200",
            ]
            for range in ranges {
                let answer = try await repo.send("PATCH", location, ["Content-Range": range], bytes)
                #expect([400, 416].contains(answer.status), "\(range): \(answer.text)")
                try await repo.expectUpload(location, received: 0)
            }
            let digest = Digest.of(bytes).description
            try await repo.expectCreated(try await repo.put(location, digest, bytes, at: 0), digest, bytes)
        },
        Rule("end-5 PATCH", section, "a Content-Range of another length than the content is refused") { repo in
            let bytes = makeNoise(100, seed: "length")
            let digest = Digest.of(bytes).description
            let location = try await repo.begin()
            for range in ["0-98", "0-100", "0-0"] {
                let answer = try await repo.send("PATCH", location, ["Content-Range": range], bytes)
                #expect([400, 416].contains(answer.status), "\(range): \(answer.text)")
                #expect(["SIZE_INVALID", "BLOB_UPLOAD_INVALID"].contains(answer.registryCode))
                try await repo.expectUpload(location, received: 0)
            }
            try await repo.expectCreated(try await repo.put(location, digest, bytes), digest, bytes)
        },
        Rule("end-5 PATCH", section, "a stream of another length than its Content-Range is refused, not the blob") {
            repo in
            let bytes = makeNoise(100, seed: "stream length")
            let digest = Digest.of(bytes).description
            for range in ["0-98", "0-100"] {
                let location = try await repo.begin()
                let answer = try await repo.client.stream(
                    "PATCH", location, as: repo.user, ["Content-Range": range], [bytes])
                #expect([400, 416].contains(answer.status), "\(range): \(answer.text)")
                // Whatever became of the upload: it does not end as something that it is not.
                let finished = try await repo.put(location, digest)
                #expect([201, 400, 404].contains(finished.status))
                if finished.status != 201 { try await repo.expectNoBlob(digest) }
            }
        },
        Rule("end-5 PATCH", section, "of two who write at once one wins, and the content is the winner's") { repo in
            for round in 0..<10 {
                let location = try await repo.begin()
                let contents = (0..<4).map { makeNoise(60_000, seed: "round \(round), writer \($0)") }
                let answers = try await withThrowingTaskGroup(of: (Int, Answer).self) { group in
                    for (number, bytes) in contents.enumerated() {
                        group.addTask { (number, try await repo.patch(location, bytes, at: 0)) }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                let winners = answers.filter { $0.1.status == 202 }
                #expect(winners.count == 1, "\(answers.map(\.1.status))")
                #expect(answers.allSatisfy { [202, 409, 416].contains($0.1.status) }, "\(answers.map(\.1.status))")
                let bytes = contents[winners.first?.0 ?? 0]
                let digest = Digest.of(bytes).description
                try await repo.expectCreated(try await repo.put(location, digest), digest, bytes)
            }
        },
        Rule("end-5 PATCH", section, "while one writes slowly, others neither write, finish nor cancel") { repo in
            let bytes = makeNoise(40_000, seed: "slow")
            let digest = Digest.of(bytes).description
            let location = try await repo.begin()
            let slow = try await RawConnection(port: repo.client.port)
            defer { slow.close() }
            let head = repo.client.head("PATCH", location, as: repo.user, ["Content-Length": "40000"])
            try await slow.send(Array(head.utf8) + bytes[..<20_000])
            try await waitUntil("the slow writer to have the upload") {
                try await repo.patch(location, []).status != 202
            }
            for answer in [
                try await repo.patch(location, [1]), try await repo.put(location, digest, [1]),
                try await repo.send("DELETE", location),
            ] {
                #expect([409, 416].contains(answer.status), "\(answer.text)")
            }
            #expect(try await repo.send("GET", location).status == 204, "its state can be read all the time")
            try await slow.send(Array(bytes[20_000...]))
            #expect(try await Answer(from: slow).status == 202)
            try await repo.expectCreated(try await repo.put(location, digest), digest, bytes)
        },
        Rule("end-5 PATCH", section, "what came before the sender broke off stays, and it can go on from there") {
            repo in
            for isChunked in [false, true] {
                let bytes = makeNoise(300_000, seed: "broken \(isChunked)")
                let digest = Digest.of(bytes).description
                let location = try await repo.begin()
                let connection = try await RawConnection(port: repo.client.port)
                let framing = isChunked ? ["Transfer-Encoding": "chunked"] : ["Content-Length": "300000"]
                let head = repo.client.head("PATCH", location, as: repo.user, framing)
                let size = isChunked ? "493e0\r\n" : ""
                try await connection.send(Array((head + size).utf8) + bytes[..<100_000])
                connection.close()
                let received = try await waitFor("the upload to be free") { () -> Int? in
                    let answer = try await repo.send("GET", location)
                    guard let end = answer["Range"]?.split(separator: "-").last.flatMap({ Int($0) }), end > 0 else {
                        return nil
                    }
                    return end + 1
                }
                #expect(received <= 100_000)
                let rest = try await repo.patch(location, Array(bytes[received...]), at: received)
                #expect(rest.status == 202, "\(rest.text)")
                try await repo.expectCreated(try await repo.put(location, digest), digest, bytes)
            }
        },
        Rule("end-4b POST, end-6 PUT", section, "a request that breaks off makes no blob, and leaves no file") { repo in
            let world = try SharedServer.world()
            let bytes = makeNoise(300_000, seed: "broken whole")
            let digest = Digest.of(bytes).description
            let location = try await repo.begin()
            for target in ["\(repo.root)/blobs/uploads/?digest=\(digest)", "\(location)?digest=\(digest)"] {
                for share in [0, 1, 299_999] {
                    let connection = try await RawConnection(port: repo.client.port)
                    let method = target.hasPrefix(location) ? "PUT" : "POST"
                    let head = repo.client.head(method, target, as: repo.user, ["Content-Length": "300000"])
                    try await connection.send(Array(head.utf8) + bytes[..<share])
                    connection.close()
                }
            }
            try await repo.expectNoBlob(digest)
            try await waitUntil("the upload to be free") {
                [204, 404].contains(try await repo.send("DELETE", location).status)
            }
            try await waitUntil("the unfinished files to go") { world.store.unfinished() == [] }
        },
    ]
}
