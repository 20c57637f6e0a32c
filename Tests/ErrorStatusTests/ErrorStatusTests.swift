import Blobs
import Droplets
import ErrorStatus
import HTTPServer
import HTTPTypes
import OCI
import ObjectStore
import Registry
import Rootfs
import Testing

@testable import BitsAPI
@testable import OperatorAPI
@testable import RegistryAPI

@Suite("Errors and statuses")
struct ErrorStatusTests {
    private struct Away: Error {}

    private static let envelopes: [(api: ErrorStatus.API, errors: any ErrorEnvelope)] = [
        (.registry, RegistryErrors()), (.bits, BitsErrors()), (.operators, OperatorErrors()),
    ]

    /// Errors of the store and of blobs, and the statuses for images and droplets, bits, and operators.
    private static func storage() throws -> [(error: BlobError, statuses: [Int])] {
        let key = try ObjectKey("data/1")
        let digest = Digest.of([], .sha256)
        let inside = [500, 500, 500]
        return [
            (.store(.full), [507, 507, 507]), (.store(.permission("/secret")), [503, 503, 503]),
            (.store(.owned("/secret")), [503, 503, 503]), (.store(.io("/secret")), [503, 503, 503]),
            (.store(.unknown("/secret")), [503, 503, 503]), (.store(.cancelled), [503, 503, 503]),
            (.store(.missing(key)), inside), (.store(.exists(key)), inside),
            (.store(.changed(key)), inside), (.store(.invalidKey("x")), inside),
            (.store(.tooLarge(key, size: 1)), inside), (.missing(digest), [404, 500, 500]), (.damaged(digest), inside),
            (.contended(digest), [503, 503, 503]), (.uncounted, [503, 503, 503]),
        ]
    }

    private static func check(
        _ error: any Error, _ statuses: [Int], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for ((api, errors), status) in zip(envelopes, statuses) {
            let failure = errors.failure(for: error)
            // Without one, the server answers 500.
            #expect(failure?.status.code ?? 500 == status, "\(api): \(error)", sourceLocation: sourceLocation)
            #expect(
                (failure?.headers[.retryAfter] != nil) == (status == 503 || status == 429), "\(api): \(error)",
                sourceLocation: sourceLocation)
            guard let failure else { continue }
            let body = String(decoding: errors.body(of: failure, requestID: "1").bytes, as: UTF8.self)
            #expect(!body.contains("secret"), "\(api): \(body)", sourceLocation: sourceLocation)
            #expect(failure.code != "", sourceLocation: sourceLocation)
        }
    }

    @Test("The same failure of the store has the same status in every API, whatever it is wrapped in, and says nothing")
    func store() throws {
        for (error, statuses) in try Self.storage() {
            Self.check(error, statuses)
            Self.check(ImageError.blob(error), statuses)
            Self.check(RegistryError.blob(error), statuses)
            Self.check(RegistryError.input(ImageError.blob(error)), statuses)
            guard case .store(let error) = error else { continue }
            Self.check(error, statuses)
            Self.check(ImageError.store(error), statuses)
            Self.check(RegistryError.store(error), statuses)
        }
    }

    @Test("What a request did wrong has the status that its API's clients expect")
    func images() throws {
        let (stack, version) = (try StackName("s"), try VersionName("1"))
        let guid = "g"
        let key = try ObjectKey("x")
        let rows: [(ImageError, [Int])] = [
            (.invalidName(what: "stack", text: "-"), [400, 400, 400]), (.unsuitableReport("x"), [400, 400, 400]),
            (.unknownStack(stack), [404, 404, 404]), (.unknownVersion(stack, version), [404, 404, 404]),
            (.nothingPromoted(stack), [404, 404, 404]), (.noVariant(stack, version, .arm64), [404, 404, 404]),
            (.noPackages(stack, version, .amd64), [404, 404, 404]),
            (.unknownDroplet(guid: guid, hash: "h"), [404, 404, 404]),
            (.unknownDelta(stack, from: version, to: version), [404, 404, 404]),
            (.rootfsExists(stack, version, .amd64), [409, 409, 409]), (.rootfsInUse(stack, version), [409, 409, 409]),
            (.rootfsNeeded(stack, version, reason: "x"), [409, 409, 409]),
            (.versionBlocked(stack, version, reason: "x"), [409, 409, 409]),
            (.nothingBefore(stack, current: version), [409, 409, 409]),
            (.promotedMeanwhile(stack, nil), [409, 409, 409]), (.aliasTaken(guid: guid, sha1: "x"), [409, 409, 409]),
            (.otherBase(guid: guid, hash: "x", stack: stack, architecture: .amd64), [409, 409, 409]),
            (.tooManyDroplets(guid: guid, limit: 1), [409, 409, 409]),
            (.unsuitableRootfs(missing: ["x"]), [422, 422, 422]), (.unsuitableImage("x"), [422, 422, 422]),
            (.unsuitableDelta("x"), [422, 422, 422]), (.untrusted("x"), [422, 422, 422]),
            (.notOneLayer(stack, version), [422, 422, 422]), (.noLifecycle(.arm64), [404, 422, 422]),
            (.checksumMismatch(announced: "a", received: "b"), [400, 400, 422]), (.contended(key), [503, 503, 503]),
            (.cancelled, [503, 503, 503]), (.damaged(key), [500, 500, 500]), (.input(Away()), [500, 500, 500]),
            (.input(HTTPFailure(.requestTimeout, "x", code: "TIMEOUT")), [408, 408, 408]),
        ]
        for (error, statuses) in rows { Self.check(error, statuses) }
    }

    @Test("What the registry refuses has the specification's status")
    func registry() throws {
        let name = try RepositoryName(parsing: "a")
        let digest = Digest.of([], .sha256)
        let rows: [(RegistryError, Int)] = [
            (.unknownRepository(name), 404), (.unknownManifest(name, .digest(digest)), 404),
            (.unknownBlob(name, digest), 404), (.unknownUpload, 404), (.missingContent([digest]), 404),
            (.mismatch(announced: .digest(digest), received: .digest(digest)), 400),
            (.sizeMismatch(expected: 1, actual: 2), 400),
            (.invalidManifest("x"), 400), (.busyUpload, 409),
            (.outOfOrder(received: 1), 416), (.tooManyUploads, 429), (.tooLarge(maximum: 1), 413), (.contended, 503),
            (.cancelled, 503), (.input(Away()), 500),
            (.input(HTTPFailure(.requestTimeout, "x", code: "TIMEOUT")), 408),
        ]
        for (error, status) in rows {
            #expect(RegistryErrors().failure(for: error)?.status.code ?? 500 == status, "\(error)")
            #expect(ErrorStatus(error, in: .operators)?.status.code ?? 500 == status, "\(error)")
        }
    }
}
