import Bits
import ErrorStatus
import HTTPServer
import HTTPTypes
import JSON
import Rootfs

/// How the cloud controller's bits routes state failures: `{"code","description"}`.
struct BitsErrors: ErrorEnvelope {
    /// Whether 403 and 413 have no body, as the controller's client knows them. Those of droplets have one: this
    /// server's own command line tells its user what it says.
    var isTerse = false

    func failure(for error: any Error) -> HTTPFailure? {
        if let failure = ErrorStatus.ofBody(error) { return failure }
        guard let status = ErrorStatus(error, in: .bits) else { return nil }
        let code =
            switch status.status.code {
            case 404: "10010"
            case 500...: "500000"
            default: Self.isMismatch(error) ? "290003" : "290008"
            }
        return HTTPFailure(status.status, status.message ?? "\(error)", code: code, headers: status.headers)
    }

    func body(of failure: HTTPFailure, requestID: String) -> (contentType: String, bytes: [UInt8]) {
        if isTerse, failure.status == .forbidden || failure.status == .contentTooLarge {
            return ("application/json", [])
        }
        let code = Int64(failure.code) ?? Self.defaultCode(failure.status)
        let json: JSONValue = ["code": .integer(code), "description": .string(failure.message)]
        return ("application/json", json.canonicalBytes)
    }

    private static func isMismatch(_ error: any Error) -> Bool {
        switch error {
        case ImageError.checksumMismatch, BitsError.checksumMismatch: true
        default: false
        }
    }

    private static func defaultCode(_ status: HTTPResponse.Status) -> Int64 {
        switch status.code {
        case 404: 10010
        case 400..<500: 290003
        default: 500000
        }
    }
}
