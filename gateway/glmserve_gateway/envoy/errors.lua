-- Makes OpenAI's error body the body of the HTTP answer. A failed call of OpenAIService carries it in its metadata; a
-- failure that the service never saw (a reset connection) has only a gRPC message.
-- Answers what no route serves.
-- Takes in bodies that are too large as well: whoever still sends does not read, and would see a closed connection and
-- no answer. So the rest is read and dropped, and the answer comes at the end.
-- Routes of native gRPC do not come here.

local DROPPED = 8 -- times the largest body: more than that is cut off, answer or not
local NOT_JSON = "\0" -- in place of what is dropped, so that nothing is mistaken for a whole request

local MAY_PASS = { ["408"] = true, ["409"] = true, ["429"] = true }

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function quote(text)
  local escaped = text:gsub('[%c"\\]', function(char) return string.format("\\u%04x", char:byte()) end)
  return '"' .. escaped .. '"'
end

local function error_type(status)
  if status == "401" then return "authentication_error" end
  if status == "429" then return "rate_limit_error" end
  return status:sub(1, 1) == "5" and "server_error" or "invalid_request_error"
end

local function error_body(message, status, code)
  if message:sub(1, 9) == '{"error":' then return message end -- a local reply, worded already
  return '{"error":{"message":' .. quote(message) .. ',"type":"' .. error_type(status) .. '","param":null,"code":'
    .. (code and quote(code) or "null") .. "}}"
end

-- Notes what the answer will be, whoever gives it.
local function refuse(handle, refusal)
  handle:streamInfo():dynamicMetadata():set("glmserve.edge", "refusal", refusal)
end

local function too_large(limit)
  local message = string.format("The request body is larger than %g MiB", limit / 2^20)
  return { status = "413", message = message, code = "request_too_large" }
end

-- Answers a request that its route refuses.
local function answer(handle, refusal)
  local headers, status = handle:headers(), refusal["status"]
  local method = headers:get(":method")
  local names = { METHOD = method:sub(1, 16), PATH = headers:get(":path"):sub(1, 200) }
  local message = refusal["message"]:gsub("%u+", names)
  local head = method == "HEAD" -- has no body
  refuse(handle, { status = status, message = message, code = refusal["code"], allow = refusal["allow"], head = head })
  handle:respond({ [":status"] = status }, "")
end

-- What the server reads, and what the edge needs to send a request on. Other headers would be metadata of gRPC, which
-- takes some for its own (grpc-timeout) or fails on them (-bin, letters that are not ASCII).
local KNOWN = {
  ["authorization"] = true, ["content-length"] = true, ["content-type"] = true, ["transfer-encoding"] = true,
  ["x-forwarded-for"] = true, ["x-request-id"] = true,
}
local LONGEST_HEAD = 8192 -- what servers of gRPC take

local function is_known(name, value)
  return name:sub(1, 1) == ":" or (KNOWN[name] and not value:find("[^\32-\126]"))
end

-- Says whether what is left is short enough.
local function trim_headers(headers)
  local unknown, length = {}, 0
  for name, value in pairs(headers) do
    if is_known(name, value) then length = length + #value else unknown[#unknown + 1] = name end
  end
  for _, name in ipairs(unknown) do headers:remove(name) end
  return length <= LONGEST_HEAD
end

function envoy_on_request(handle)
  local refusal = handle:metadata():get("refusal")
  if refusal then return answer(handle, refusal) end
  if not trim_headers(handle:headers()) then
    return handle:respond({ [":status"] = "431" }, "The address and the headers are too long")
  end
  local limit = handle:virtualHost():metadata():get("max_body_bytes")
  local declared = tonumber(handle:headers():get("content-length") or "")
  if declared and declared <= limit then return end
  local passed = declared and 0 or limit
  local length = 0
  for chunk in handle:bodyChunks() do
    local before = length
    length = length + chunk:length()
    if length > DROPPED * limit then return end -- the transcoder refuses it
    if length > passed then
      chunk:setBytes(before <= passed and NOT_JSON or "")
      if before <= passed then refuse(handle, too_large(limit)) end
    end
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  local grpc_status = headers:get("grpc-status")
  local message = headers:get("grpc-message")
  local body = headers:get("x-glmserve-error")
  headers:remove("grpc-status")
  headers:remove("grpc-message")
  headers:remove("grpc-status-details-bin")
  headers:remove("grpc-accept-encoding")
  headers:remove("x-glmserve-error")
  local edge = handle:streamInfo():dynamicMetadata():get("glmserve.edge")
  if edge then
    local refusal = edge["refusal"]
    status, body = refusal["status"], error_body(refusal["message"], refusal["status"], refusal["code"])
    if refusal["allow"] then headers:replace("allow", refusal["allow"]) end
  elseif grpc_status == nil or grpc_status == "0" then
    return
  elseif grpc_status == "8" and not body then -- gRPC's own limit, which is that of the server
    status = "413"
  end
  headers:replace(":status", status)
  headers:replace("content-type", "application/json")
  if status:sub(1, 1) == "4" and not MAY_PASS[status] then headers:replace("x-should-retry", "false") end
  if status == "503" and not body then headers:replace("retry-after", "1") end
  if edge and edge["refusal"]["head"] then return end
  handle:body(true):setBytes(body or error_body(unescape(message or "The server gave no answer"), status))
end
