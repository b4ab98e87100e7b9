-- Makes OpenAI's error body the body of the HTTP answer. A failed call of OpenAIService carries it in its metadata; a
-- failure that the service never saw (a message too long for gRPC, a reset connection) has only a gRPC message.
-- Routes of native gRPC do not come here.

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

local function error_body(message, status)
  if message:sub(1, 9) == '{"error":' then return message end -- a local reply, worded already
  return '{"error":{"message":' .. quote(message) .. ',"type":"' .. error_type(status) .. '","param":null,"code":null}}'
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
  if grpc_status == nil or grpc_status == "0" then return end
  headers:replace("content-type", "application/json")
  handle:body(true):setBytes(body or error_body(unescape(message or "The server gave no answer"), status))
end
