-- Servers that are not to be trusted, or that do not trust us: reason -6 and the check that failed, also the second
-- time. Certificates are made anew for this file, and served by the command openssl.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

describe("a refused handshake", function()
  local folder
  local servers = {}

  local function shell(command)
    local pipe = assert(io.popen(command .. " 2>&1 </dev/null; echo \"status $?\""))
    local output = pipe:read("*a")
    pipe:close()
    assert(output:find("status 0\n$"), output)
    return (output:gsub("status 0\n$", ""))
  end

  setup(function()
    folder = shell("mktemp -d"):gsub("%s+$", "")
    shell("tests/support/certificates " .. folder)
  end)
  teardown(function() shell("rm -r " .. folder) end)
  after_each(function()
    support.finish()
    for _, server in ipairs(servers) do
      os.execute("kill " .. server.pid)
      server.pipe:close()
    end
    servers = {}
  end)

  local function file(name)
    return folder .. "/" .. name
  end

  -- openssl s_server with this certificate and further options; its port.
  local function serve(certificate, options)
    local command = ("echo $$; exec openssl s_server -rev -accept 127.0.0.1:0 -cert %s -key %s %s 2>&1 </dev/null")
      :format(file(certificate), file("server.key"), options or "")
    local pipe = assert(io.popen(command))
    servers[#servers + 1] = { pipe = pipe, pid = pipe:read("*l") }
    for line in pipe:lines() do
      local port = line:match("^ACCEPT 127%.0%.0%.1:(%d+)$")
      if port then return tonumber(port) end
    end
    error("openssl s_server does not start")
  end

  -- Connects twice with one client; each time it has to be refused in these words, and the log says so too.
  local function refused(port, secure, ...)
    local client = support.client("refused")
    local logged = {}
    mqtt.log(function(_, text) logged[#logged + 1] = text end)
    local up = false
    for _ = 1, 2 do
      local reason, detail
      client:connect("localhost", port, secure, function() up = true end, function(_, r, d) reason, detail = r, d end)
      kit.eventually(function() return reason end)
      assert.are.equal(mqtt.CONN_FAIL_TLS, reason)
      for _, part in ipairs { ... } do assert.matches(part, detail, 1, true) end
      assert.matches(detail, table.concat(logged, "\n"), 1, true)
      assert.is_false(up)
      assert.are.equal("idle", client:state())
      logged = {}
    end
  end

  it("names an unknown issuer", function()
    refused(serve("server.pem"), { ca_cert = file("client.pem") }, "unknown issuer", "My CA")
  end)

  it("names an issuer that the system does not know", function()
    refused(serve("server.pem"), 1, "")
  end)

  it("names the date of an expired certificate", function()
    refused(serve("expired.pem"), { ca_cert = file("ca.pem") }, "expired on 2020-02-01")
  end)

  it("names whom the certificate is for", function()
    refused(serve("server.pem"), { ca_cert = file("ca.pem"), server_name = "other.example" },
      "name mismatch", "certificate is for DNS:localhost, IP:127.0.0.1")
  end)

  it("asks for a client certificate", function()
    for _, version in ipairs { "-tls1_2", "-tls1_3" } do
      local port = serve("server.pem", ("-Verify 1 -verify_return_error -CAfile %s %s"):format(file("ca.pem"), version))
      refused(port, { ca_cert = file("ca.pem") }, "client certificate required")
    end
  end)

  it("comes from a server that does not speak TLS, and from one that says nothing", function()
    local peer = support.peer()
    local reason, detail
    local function connect(timeout)
      reason = nil
      local client = support.client { clientid = "refused", connect_timeout = timeout }
      client:connect("127.0.0.1", peer.port, 1, nil, nil, function(_, r, d) reason, detail = r, d end)
      peer:accept()
    end
    connect(5)
    peer:send("220 mail.example ESMTP\r\n")
    kit.eventually(function() return reason end)
    assert.are.same({ -6, "the server does not speak TLS, or not on this port" }, { reason, detail })
    connect(0.2)
    kit.eventually(function() return reason end)
    assert.are.equal(-6, reason)
    assert.matches("timed out", detail)
  end)

  it("is warned of each time when nothing is verified", function()
    local port = serve("server.pem")
    local warnings = 0
    mqtt.log(function(level, text)
      if level == "warn" and text:find("verify = false", 1, true) then warnings = warnings + 1 end
    end)
    -- s_server is no broker: what comes back of a line is that line reversed.
    local client = support.client("careless\n")
    for _ = 1, 2 do
      local reason
      client:connect("localhost", port, { verify = false }, nil, nil, function(_, r) reason = r end)
      kit.eventually(function() return reason end)
      assert.are.equal(mqtt.CONN_FAIL_NOT_A_CONNACK_MSG, reason)
    end
    assert.are.equal(2, warnings)
  end)

  it("comes from a server that knows none of the protocols or suites that were asked for", function()
    local ca = file("ca.pem")
    local port = serve("server.pem", "-tls1_3 -alpn mqtt,x-amzn-mqtt-ca -ciphersuites TLS_AES_256_GCM_SHA384")
    refused(port, { ca_cert = ca, alpn = { "h2", "http/1.1" } }, "none of the protocols in alpn")
    refused(port, { ca_cert = ca, cipher_suites = "TLS_AES_128_GCM_SHA256" }, "none of the offered cipher suites")
    -- s_server is no broker: with what it wants, the next hurdle is CONNACK
    local reason
    support.client("id\n"):connect("localhost", port, {
      ca_cert = ca, alpn = { "mqtt" }, cipher_suites = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384" },
    }, nil, nil, function(_, r) reason = r end)
    kit.eventually(function() return reason end)
    assert.are.equal(mqtt.CONN_FAIL_NOT_A_CONNACK_MSG, reason)
  end)

  it("is an argument error where certificate and key do not match", function()
    assert.error_matches(function()
      local secure = { client_cert = file("client.pem"), client_key = file("server.key") }
      support.client("pair"):connect("localhost", 8883, secure)
    end, "bad argument #3 to 'connect' %('client_key': it does not match client_cert%)")
  end)

  it("tells no secret", function()
    local secret = "hunter2"
    local told = {}
    local function tell(...)
      for _, text in ipairs { ... } do told[#told + 1] = tostring(text) end
    end
    mqtt.log(tell)
    mqtt.trace(tell)
    local key = assert(io.open(file("client.key"))):read("*a")
    local tls, peer = serve("server.pem"), support.peer()
    local headers = { Authorization = secret }
    local cert, ca = file("client.pem"), file("client.pem")
    local mutual = { client_cert = cert, client_key = key, ca_cert = ca, headers = headers }
    local client = support.client { clientid = "quiet", username = "user", password = secret, connect_timeout = 0.5 }
    client:lwt("gone", secret)
    for _, call in ipairs {
      { "localhost", tls, { client_cert = cert, client_key = key, ca_cert = ca } },
      { ("wss://user:%s@localhost:%d/mqtt?token=%s"):format(secret, tls, secret), nil, mutual },
      { ("wss://user:%s@127.0.0.1:%d?%s"):format(secret, tls, secret), nil, { verify = false, headers = headers } },
      { ("ws://user:%s@127.0.0.1:%d?%s"):format(secret, peer.port, secret), nil, { headers = headers } },
      -- built without pre-shared keys, that is an error
      { "localhost", tls, { psk_identity = "device", psk_key = "00" .. ("68756e74657232"):rep(3) } },
      -- and this always
      { "localhost", tls, { client_cert = cert, client_key = (key:gsub("END", "ENT")) } },
      { "localhost", tls, { psk_identity = "device", psk_key = secret } },
      { ("wss://user:%s@local host?%s"):format(secret, secret), nil, mutual },
    } do
      local ended
      local ok, why = pcall(client.connect, client, call[1], call[2], call[3], nil, function() ended = true end,
        function(_, ...)
          ended = true
          tell(...)
        end)
      tell(why, client)
      if ok then kit.eventually(function() return ended end) end
    end
    local all = table.concat(told, "\n")
    assert.matches("unknown issuer", all, 1, true) -- the log and the details are there
    for line in (secret .. "\n68756e74657232\n" .. key):gmatch("[^\n]+") do
      if not line:find("-----", 1, true) then assert.is_nil(all:find(line, 1, true)) end
    end
  end)

  it("reads files again at each connect", function()
    local port = serve("server.pem")
    local ca = file("renewed.pem")
    local client = support.client("reader")
    local function connect()
      local reason, detail
      client:connect("localhost", port, { ca_cert = ca, server_name = "other.example" }, nil, nil,
        function(_, r, d) reason, detail = r, d end)
      kit.eventually(function() return reason end)
      return detail
    end
    shell(("cp %s %s"):format(file("client.pem"), ca))
    assert.matches("unknown issuer", connect())
    shell(("cp %s %s"):format(file("ca.pem"), ca))
    assert.matches("name mismatch", connect())
    os.remove(ca)
    assert.error_matches(function() connect() end, "'ca_cert': cannot read the file")
  end)
end)

describe("a WebSocket", function()
  after_each(support.finish)

  it("is asked for with the path and the headers that were given, and refused with the server's answer", function()
    local peer = support.peer()
    local client = support.client("web")
    for uri, first in pairs {
      ["ws://user:password@127.0.0.1:%d"] = "GET /mqtt HTTP/1.1",
      ["ws://127.0.0.1:%d/a/b?c=d"] = "GET /a/b?c=d HTTP/1.1",
    } do
      local reason, detail
      client:connect(uri:format(peer.port), nil, { headers = { ["X-Api-Key"] = "key", Cookie = "a=1" } }, nil, nil,
        function(_, r, d) reason, detail = r, d end)
      peer:accept()
      assert.are.equal(first, peer.link:receive("*l"))
      local seen = {}
      for line in function() return peer.link:receive("*l") end do
        if line == "" then break end
        local name, value = line:match("^([^:]+): (.*)$")
        seen[name:lower()] = value
      end
      assert.are.equal("key", seen["x-api-key"])
      assert.are.equal("a=1", seen.cookie)
      assert.are.equal("mqtt", seen["sec-websocket-protocol"])
      assert.are.equal("127.0.0.1:" .. peer.port, seen.host)
      -- that is for MQTT's CONNECT
      assert.is_nil(seen.authorization)
      peer:send("HTTP/1.1 403 Forbidden\r\n\r\n")
      kit.eventually(function() return reason end)
      assert.are.same({ -6, "the server answers the WebSocket request with HTTP status 403 Forbidden" },
        { reason, detail })
    end
  end)
end)
