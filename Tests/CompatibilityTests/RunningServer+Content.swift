import Foundation
import JSON
import OCI
import TestSupport
import Testing

/// An answer to a GET.
struct Fetched {
    let status: Int
    let type: String
    let body: [UInt8]
}

extension RunningServer {
    /// Gets many paths over one connection.
    /// - Parameter accept: empty: curl's own.
    /// - Returns: the answers, in the order of the paths.
    func fetch(_ paths: [String], accept: String) async throws -> [Fetched] {
        try await withTemporaryDirectory { scratch in
            var lines = [
                "silent", "show-error", "globoff", "path-as-is", "max-time = 60",
                "cacert = \"\(certificateAuthority)\"",
                "user = \"operator:\(try password(of: .operator))\"",
                "write-out = \"%{http_code} %{content_type}\\n\"",
            ]
            if !accept.isEmpty { lines.append("header = \"Accept: \(accept)\"") }
            for (index, path) in paths.enumerated() {
                lines += ["url = \"\(url)\(path)\"", "output = \"\(scratch)/\(index)\""]
            }
            // A file, since all of that is more than goes through a pipe at once.
            let config = scratch + "/config"
            try Data(lines.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: config))
            let printed = try await runSuccessfully("curl", ["--config", config], timeout: .seconds(120)).output
            let answers = printed.split(separator: "\n")
            try #require(answers.count == paths.count)
            return answers.enumerated().map { index, line in
                let words = line.split(separator: " ", maxSplits: 1)
                return Fetched(
                    status: words.first.flatMap { Int($0) } ?? 0, type: words.count > 1 ? String(words[1]) : "",
                    // An empty body leaves no file.
                    body: Array(FileManager.default.contents(atPath: "\(scratch)/\(index)") ?? Data()))
            }
        }
    }

    /// Pushes a blob with one request.
    func push(_ content: [UInt8], to repository: String) async throws {
        let answer = try await request(
            "POST", "/v2/\(repository)/blobs/uploads?digest=\(Digest.of(content))", as: .operator,
            headers: ["Content-Type": "application/octet-stream"], body: .bytes(content))
        try #require(answer.status == 201, "\(answer.text)")
    }

    /// Pushes an image of one layer.
    func pushImage(to repository: String, tag: String) async throws {
        let layer = Array("a layer".utf8)
        let config = ImageConfig(
            created: nil, platform: Platform(architecture: "amd64"), execution: ImageConfig.Execution(),
            diffIDs: [Digest.of(layer)], history: []
        ).json.canonicalBytes
        try await push(layer, to: repository)
        try await push(config, to: repository)
        func descriptor(_ type: MediaType, _ bytes: [UInt8]) -> Descriptor {
            Descriptor(mediaType: type, digest: Digest.of(bytes), size: Int64(bytes.count))
        }
        let manifest = Manifest(
            mediaType: .ociManifest, config: descriptor(.ociConfig, config), layers: [descriptor(.ociLayer, layer)])
        let answer = try await request(
            "PUT", "/v2/\(repository)/manifests/\(tag)", as: .operator,
            headers: ["Content-Type": "\(MediaType.ociManifest)"], body: .bytes(manifest.json.canonicalBytes))
        try #require(answer.status == 201, "\(answer.text)")
    }
}
