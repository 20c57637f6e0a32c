import OCI
import Testing

/// Bytes that a test pushes, made again whenever they are needed.
struct Content: Hashable, Sendable {
    let seed: String
    let size: Int

    var bytes: [UInt8] { makeNoise(size, seed: seed) }
    var digest: String { Digest.of(bytes).description }
}

/// A form in which a blob is pushed.
enum PushForm: CaseIterable, Sendable {
    case single, put, stream, chunks

    /// - Returns: the last request's answer.
    func push(_ bytes: [UInt8], _ digest: String, to repo: Repo) async throws -> Answer {
        if self == .single { return try await repo.post("?digest=\(digest)", bytes) }
        let begun = try await repo.post()
        guard begun.status == 202 else { return begun }
        let location = try begun.location()
        let half = bytes.count / 2
        switch self {
        case .single, .put: return try await repo.put(location, digest, bytes)
        case .stream:
            let answer = try await repo.client.stream(
                "PATCH", location, as: repo.user, [:], [Array(bytes[..<half]), Array(bytes[half...])])
            guard answer.status == 202 else { return answer }
            return try await repo.put(location, digest)
        case .chunks:
            let answer = try await repo.patch(location, Array(bytes[..<half]), at: 0)
            guard answer.status == 202 else { return answer }
            return try await repo.put(location, digest, Array(bytes[half...]), at: half)
        }
    }
}
