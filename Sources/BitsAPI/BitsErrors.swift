import Blobs
import HTTPServer
import HTTPTypes
import Images
import JSON
import Layers
import ObjectStore
import Rootfs

/// How the cloud controller's bits routes word their failures: `{"code","description"}`, or nothing.
struct BitsErrors: ErrorEnvelope {
    func failure(for error: any Error) -> HTTPFailure? {
        guard let error = error as? ImageError else { return nil }
        let message = "\(error)"
        switch error {
        case .invalidName: return HTTPFailure(.badRequest, message, code: "290008")
        case .checksumMismatch: return HTTPFailure(.badRequest, message, code: "290003")
        case .unknownDroplet: return HTTPFailure(.notFound, message, code: "10010")
        case .aliasTaken, .contended: return HTTPFailure(.conflict, message, code: "290008")
        case .rejected(let reason) where reason.fault == .noMemory:
            return HTTPFailure(.serviceUnavailable, reason.reason, code: "500000", headers: [.retryAfter: "5"])
        case .rejected(let reason):
            return HTTPFailure(
                reason.fault == .tooLarge ? .contentTooLarge : .unprocessableContent, message, code: "290008")
        case .store(.full), .blob(.store(.full)):
            return HTTPFailure(
                HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage"), "the store is full",
                code: "500000")
        case .blob(.overQuota):
            return HTTPFailure(
                HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage"), message, code: "500000")
        case .blob(.uncounted):
            return HTTPFailure(.serviceUnavailable, message, code: "500000", headers: [.retryAfter: "5"])
        case .store(.permission), .blob(.store(.permission)):
            return HTTPFailure(.serviceUnavailable, "the store can't be written at the moment", code: "500000")
        case .input(let error as HTTPFailure): return error
        default: return nil
        }
    }

    func body(of failure: HTTPFailure, requestID: String) -> (contentType: String, bytes: [UInt8]) {
        let code = Int64(failure.code) ?? Self.defaultCode(failure.status)
        let json: JSONValue = ["code": .integer(code), "description": .string(failure.message)]
        return ("application/json", json.canonicalBytes)
    }

    private static func defaultCode(_ status: HTTPResponse.Status) -> Int64 {
        switch status.code {
        case 404: 10010
        case 400..<500: 290003
        default: 500000
        }
    }
}
