import JSON
import OCI
import Signatures

/// A signed statement (DSSE 1.0).
enum Envelope {
    /// - Throws: `SignatureError.signing`.
    static func bytes(of payload: [UInt8], type: MediaType, signedBy key: SigningKey) throws(SignatureError)
        -> [UInt8]
    {
        let signature = try key.signature(of: preAuthenticationEncoding(payload, type))
        let json: JSONValue = [
            "payload": .string(Base64.encode(payload)), "payloadType": .string(type.text),
            "signatures": [
                ["keyid": .string(key.id), "sig": .string(Base64.encode(signature))]
            ],
        ]
        return json.canonicalBytes
    }

    /// What is signed: the payload with its type and both lengths (DSSE 1.0, "PAE").
    static func preAuthenticationEncoding(_ payload: [UInt8], _ type: MediaType) -> [UInt8] {
        Array("DSSEv1 \(type.text.utf8.count) \(type.text) \(payload.count) ".utf8) + payload
    }
}
